"""Ends the process of a worker that must not go on, with an exit code that says why; and says it of other processes."""

from __future__ import annotations

import signal

from task_runtime import leave_process, leave_within

HUNG = 70
"""Exit code of a process whose event loop no longer answers (EX_SOFTWARE of sysexits.h)."""
LEASE_LOST = 75
"""Exit code of a process with code that could not be stopped when its lease or its drain was over (EX_TEMPFAIL)."""
_LEAVING_SECONDS = 7.0


def end_process(code: int) -> None:
    """End this process at once. Nothing is written about its tasks: the sweep brings them back."""
    leave_process(code)


def end_soon(code: int) -> None:
    """End this process in at most 7 s, whatever it waits for by then: a broker, a database, code of users."""
    leave_within(_LEAVING_SECONDS, code)


def cause_of_end(code: int) -> str:
    """Return what ended a process, by its exit code, negative for a signal: `exit code 1`, `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
