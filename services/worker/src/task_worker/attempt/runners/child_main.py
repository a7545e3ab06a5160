"""The process of handlers: `python -m task_worker.attempt.runners.child_main`, started by `child_process`.

It loads the handlers once and runs one attempt after the other, until the worker kills it or is gone.

**Invariants**

- Processes that a handler starts get neither pipe. With a copy of one, the worker would not see this process end, or
  this process would not see the worker end.
- What cannot be read is raised in the main thread: a process whose reading thread had died would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import io
import os
import pickle
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from structlog.contextvars import bind_contextvars

from task_runtime import configure_logging
from task_worker.attempt.outcome import HandlerOutcome, NotBegun
from task_worker.attempt.runners.child_messages import (
    SIZE_BYTES,
    Begun,
    ChildAnswer,
    ChildCheckpointAnswer,
    ChildRequest,
    ChildSetup,
    Ready,
)
from task_worker.attempt.runners.child_reports import ChildReports, send
from task_worker.attempt.runners.child_state import ChildState, adopt_orphans
from task_worker.attempt.runners.raised import not_begun_by, outcome_of_exception
from task_worker.attempt.runners.thread import call
from task_worker.context import Context
from task_worker.handlers import Handler, HandlerError
from task_worker.loader import load_handlers
from task_worker.printed import log_prints
from task_worker.wait_warnings import WaitWarnings

_wait_warnings = WaitWarnings(free_slots=lambda: 0)


def main() -> None:
    """Load the handlers, then run what is asked for, for ever."""
    requests, answers = _take_pipes()
    inbox = _Inbox()
    try:
        threading.Thread(target=_read_until_worker_ends, args=(requests, inbox), daemon=True).start()
        adopt_orphans()
        handlers = _load(inbox.next())
    except BaseException as error:  # noqa: BLE001 # a mistake in a changed file, say: the error of the first attempt
        send(answers, not_begun_by(error) or outcome_of_exception(error))
        return
    send(answers, Ready())
    with log_prints():
        _work(handlers, inbox, answers)


def _work(handlers: Mapping[str, Handler], inbox: _Inbox, answers: io.BufferedWriter) -> None:
    state = ChildState()
    while True:
        request = inbox.next()
        send(answers, Begun())
        reports = inbox.reports = ChildReports(answers)
        outcome = contextvars.copy_context().run(_run, handlers, request, reports)
        send(answers, ChildAnswer(outcome, is_clean=not isinstance(outcome, NotBegun) and state.is_restored()))
        del request, outcome  # they may be large


def _take_pipes() -> tuple[io.BufferedReader, io.BufferedWriter]:
    """Return the two pipes, for this module only: the handler reads nothing, and what it prints goes to stderr."""
    _close_duplicates()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    for pipe in (requests, answers):
        # The raw file: another thread may hold the buffer's lock at the moment of the fork.
        os.register_at_fork(after_in_child=pipe.raw.close)
    return requests, answers


def _close_duplicates() -> None:
    """Close other descriptors of the two pipes: uvloop 0.23 leaves its own ends open in a process that it starts."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 # numbers, not paths
        with contextlib.suppress(OSError):  # the descriptor of the listing itself, closed by now
            if int(name) > 2 and any(os.path.sameopenfile(int(name), standard) for standard in (0, 1)):
                os.close(int(name))


def _read_until_worker_ends(requests: io.BufferedReader, inbox: _Inbox) -> None:
    while size := requests.read(SIZE_BYTES):  # nothing once the worker's end of the pipe is closed
        inbox.put(_message(requests, int.from_bytes(size, "big")))
    os.killpg(0, signal.SIGKILL)  # this process, and all that the handler started


def _message(requests: io.BufferedReader, size: int) -> object:
    try:
        return pickle.loads(requests.read(size))  # noqa: S301 # from our own worker
    except BaseException as error:  # noqa: BLE001 # no memory, mostly
        return error


class _Inbox:
    """What the worker has sent: the setup and the requests for the main thread, answers for the attempt that runs."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.reports: ChildReports | None = None
        """Of the attempt that runs, or of the last."""

    def put(self, message: object) -> None:
        if not isinstance(message, ChildCheckpointAnswer):
            self._messages.put(message)
        elif self.reports is not None:
            self.reports.answered(message)

    def next(self) -> Any:
        message = self._messages.get()
        if isinstance(message, BaseException):
            raise message
        return message


def _load(setup: ChildSetup) -> Mapping[str, Handler]:
    sys.path[:] = setup.search_path
    configure_logging(setup.log_level, setup.log_format)
    return load_handlers(setup.handlers_place)


def _run(handlers: Mapping[str, Handler], request: ChildRequest, reports: ChildReports) -> HandlerOutcome:
    handler = handlers.get(request.details.type)

    def on_wait() -> None:
        _wait_warnings.handler_waits(request.details.type, request.details.queue)

    def run() -> Any:
        if handler is None:
            raise HandlerError(_missing(handlers, request))
        context = Context(
            request.details,
            report=reports.report,
            store_checkpoint=reports.store_checkpoint,
            is_stopped=lambda: False,
            on_wait=on_wait,
        )
        with runner or contextlib.nullcontext():
            value = handler.begin(orjson.loads(request.payload_text), context)
            return value if runner is None else runner.run(value)

    bind_contextvars(**request.log_fields)
    try:
        runner = _runner(handler)
    except (OSError, MemoryError) as error:
        return NotBegun(f"no process: {error}")
    try:
        return call(run)
    finally:
        reports.close()


def _runner(handler: Handler | None) -> asyncio.Runner | None:
    """Return what runs an async handler, with its event loop; None for a plain one.

    Making the loop takes files: an error of that is not the handler's.
    """
    if handler is None or not inspect.iscoroutinefunction(handler.function):
        return None
    runner = asyncio.Runner()
    runner.get_loop()
    return runner


def _missing(handlers: Mapping[str, Handler], request: ChildRequest) -> str:
    """Return what to say where a file has changed since the worker loaded it, and lacks the type of a task now."""
    whose = f"a process of the queue {request.details.queue} has no handler of the type {request.details.type}"
    return f"{whose}; its handlers, as they are now: {', '.join(sorted(handlers))}"


if __name__ == "__main__":
    main()
