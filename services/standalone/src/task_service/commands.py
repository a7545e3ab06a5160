"""Runs a command that does one thing and ends: `backup` or `restore`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any

from task_contracts import printable_text
from task_runtime import (
    IN_PROCESS_BROKER,
    ExitCode,
    Misconfigured,
    ProcessSettings,
    ShutdownSignals,
    read_settings,
    run_process,
)
from task_store import StoreError
from task_store.embedded import EmbeddedPostgresError, ProgramFailedError


def run_command(work: Callable[[], Coroutine[Any, Any, str]]) -> int:
    """Run the coroutine that `work` makes, print what it returns on stderr, and return the exit code.

    OK: it is done. FAILED: it failed on the way, or was stopped by a signal; nothing has changed. MISCONFIGURED: it
    cannot be done with these options. An error is one line on stderr.
    """
    # No server is used by its address. The log begins at WARNING, since the text of the command says what was done.
    given = {"database_url": "postgresql:///tasks", "broker_url": IN_PROCESS_BROKER, "log_level": "WARNING"}
    return run_process(lambda: _run(work()), read_settings(ProcessSettings, **given))


async def _run(work: Coroutine[Any, Any, str]) -> ExitCode:
    with ShutdownSignals() as shutdown:
        try:
            said = await shutdown.unless_stopped(work)
        except (ProgramFailedError, StoreError, OSError) as error:
            return _say(f"error: {error}", ExitCode.FAILED)
        except EmbeddedPostgresError as error:
            raise Misconfigured(str(error)) from error
    if said is None:
        return _say("error: it was stopped before it was done; nothing has changed", ExitCode.FAILED)
    return _say(said, ExitCode.OK)


def _say(text: str, code: ExitCode) -> ExitCode:
    sys.stderr.write(f"{printable_text(text, is_multiline=True)}\n")
    return code
