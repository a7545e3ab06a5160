"""Runs a process from its first log line to its exit code.

**Invariants**

- Only the main coroutine ends the process. Code that stops the event loop, or leaves it by SystemExit, does not: the
  loop runs on.
- After the main coroutine the end of the loop takes at most `leaving.CLOSING_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from task_contracts import printable_text
from task_runtime.exits import ExitCode, Misconfigured
from task_runtime.forks import guard_forks
from task_runtime.leaving import CLOSING_SECONDS, leaving_after
from task_runtime.logs import configure_logging
from task_runtime.settings import ProcessSettings
from task_runtime.signals import is_handled
from task_runtime.task_guard import guard_tasks

_log = logging.getLogger(__name__)


def run_process(
    main: Callable[[], Coroutine[Any, Any, int | None]], settings: ProcessSettings, *, number: int | None = None
) -> int:
    """Run the coroutine that `main` makes, and return the exit code: `exit_process(run_process(...))`.

    Sets up logging by `settings`, and runs on uvloop where it is installed (Linux, macOS). `main` handles the signals
    (`ShutdownSignals`); a Ctrl-C before or after that cancels it and counts as a request to stop. Of several processes
    under one parent each has a `number`, which stands on its log lines as `process`.

    The exit code is the one that the coroutine returns, and OK for None. After `Misconfigured`, also several of them in
    a group, it is MISCONFIGURED, with one line on stderr for each. After any other exception it is FAILED, and the
    exception is logged with its traceback.

    What the main coroutine leaves behind may take 2 s to end. Then the process is left at once, with this exit code.
    """
    configure_logging(settings.log_level, settings.log_format, number)
    _collect_garbage_less_often()
    runner = asyncio.Runner(loop_factory=_loop_factory())
    code: int = ExitCode.FAILED
    try:
        code = _run(runner, main)
    finally:
        # A RuntimeError: the loop was stopped, by a Ctrl-C for example. It is closed all the same.
        with leaving_after(CLOSING_SECONDS, code), contextlib.suppress(RuntimeError):
            runner.close()
    return code


def _collect_garbage_less_often() -> None:
    """Leave what was imported out of every collection, and collect after 50,000 new objects rather than 700.

    Each task makes some hundred objects that go by themselves. (Measured: 25 % more tasks in the same time.) A batch of
    1,000 holds 10,000 at once, which need no looking at either. (Measured: 7 % of the API's time for one.)
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def _run(runner: asyncio.Runner, main: Callable[[], Coroutine[Any, Any, int | None]]) -> int:
    guard_tasks(runner.get_loop())
    guard_forks(runner.get_loop())
    try:
        return _run_to_end(runner, main()) or ExitCode.OK
    except KeyboardInterrupt:
        return ExitCode.OK
    # CancelledError: nothing here cancels the main coroutine, so one that arrives comes from a library.
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 # the outermost frame: it logs once and ends
        return _end_by(error)


def _run_to_end(runner: asyncio.Runner, main: Coroutine[Any, Any, int | None]) -> int | None:
    """Run the loop until `main` has ended, again where something else has stopped it: `loop.stop()`, a SystemExit."""
    task = runner.get_loop().create_task(main)
    while True:
        try:
            runner.run(_wait_for(task))
        except BaseException as error:
            # A Ctrl-C where no `ShutdownSignals` handles it; where one does, code has raised the exception itself.
            if isinstance(error, KeyboardInterrupt) and not is_handled(signal.SIGINT):
                raise
            if task.cancelled():
                raise  # this one says why
            if not task.done():
                _log.error("event_loop_stopped", extra={"reason": type(error).__name__})
        if task.done():
            return task.result()


async def _wait_for(task: asyncio.Task[Any]) -> None:
    try:
        await task
    except asyncio.CancelledError:
        raise
    except BaseException:  # noqa: BLE001, S110 # the task itself tells it
        pass


def _end_by(error: BaseException) -> ExitCode:
    reasons = list(_misconfigurations(error))
    if not reasons:
        _log.error("process_failed", exc_info=error)
        return ExitCode.FAILED
    for reason in reasons:
        sys.stderr.write(f"error: {printable_text(reason, is_multiline=True)}\n")
    return ExitCode.MISCONFIGURED


def _misconfigurations(error: BaseException) -> list[str]:
    """Return the messages of an error that is, or holds, nothing but `Misconfigured`; an empty list for any other."""
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
