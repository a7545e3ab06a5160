"""Runs a process from its first log line to its exit code."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from task_runtime.exits import ExitCode, Misconfigured
from task_runtime.logs import configure_logging
from task_runtime.settings import ProcessSettings

_log = logging.getLogger(__name__)


def run_process(main: Callable[[], Coroutine[Any, Any, ExitCode | None]], settings: ProcessSettings) -> ExitCode:
    """Run the coroutine that `main` makes, and return how the process should end: `sys.exit(run_process(...))`.

    Sets up logging as `settings` say, and runs on uvloop where it is installed (Linux, macOS). `main` owns the signals
    (`ShutdownSignals`); a Ctrl-C before or after that cancels it and counts as being asked to stop.
    `Misconfigured` (in a group too) becomes one line on stderr for each and MISCONFIGURED; any other exception is
    logged with its traceback and becomes FAILED; None is OK.
    """
    configure_logging(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main()) or ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.OK
    # CancelledError: nobody cancels the main coroutine, so one that arrives here comes out of a library.
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 # the outermost frame: it logs once and ends
        return _end_by(error)


def _end_by(error: BaseException) -> ExitCode:
    reasons = list(_misconfigurations(error))
    if not reasons:
        _log.error("process_failed", exc_info=error)
        return ExitCode.FAILED
    for reason in reasons:
        sys.stderr.write(f"error: {reason}\n")
    return ExitCode.MISCONFIGURED


def _misconfigurations(error: BaseException) -> list[str]:
    """Return what is misconfigured, nothing where the error is, or holds, anything else."""
    if isinstance(error, Misconfigured):
        return [str(error)]
    if not isinstance(error, BaseExceptionGroup):
        return []
    members = [_misconfigurations(member) for member in error.exceptions]
    return [reason for reasons in members for reason in reasons] if all(members) else []


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop  # here: it does not exist on Windows

    return uvloop.new_event_loop
