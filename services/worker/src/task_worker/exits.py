"""Ends the process of a worker that must not go on, with an exit code that says why."""

from __future__ import annotations

import os
import sys

HUNG = 70
"""Exit code of a process whose event loop no longer answers (EX_SOFTWARE of sysexits.h)."""
LEASE_LOST = 75
"""Exit code of a process with code that could not be stopped when its lease or its drain was over (EX_TEMPFAIL)."""


def end_process(code: int) -> None:
    """End this process at once. Nothing is written about its tasks: the sweep brings them back."""
    sys.stderr.flush()
    os._exit(code)
