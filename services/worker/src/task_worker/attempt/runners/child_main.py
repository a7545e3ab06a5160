"""The process of handlers: `python -m task_worker.attempt.runners.child_main`, started by `child_process`.

It loads the handlers once and runs one attempt after the other, until the worker kills it or is gone.

**Invariants**

- Processes that a handler starts get neither pipe. With a copy of one, the worker would not see this process end, or
  this process would not see the worker end.
- A handler that goes on in a thread after its attempt has ended reports no more progress: it would be that of another.
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

from task_contracts import Progress
from task_runtime import configure_logging
from task_worker.attempt.outcome import HandlerOutcome, NotBegun
from task_worker.attempt.runners.child_messages import (
    SIZE_BYTES,
    Begun,
    ChildAnswer,
    ChildRequest,
    ChildSetup,
    Ready,
    framed,
)
from task_worker.attempt.runners.child_state import ChildState, adopt_orphans
from task_worker.attempt.runners.raised import not_begun_by, outcome_of_exception
from task_worker.attempt.runners.thread import call
from task_worker.context import Context
from task_worker.handlers import Handler, HandlerError
from task_worker.loader import load_handlers
from task_worker.wait_warnings import WaitWarnings

_wait_warnings = WaitWarnings(free_slots=lambda: 0)


def main() -> None:
    """Load the handlers, then run what is asked for, for ever."""
    requests, answers = _take_pipes()
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    try:
        threading.Thread(target=_read_until_worker_ends, args=(requests, inbox), daemon=True).start()
        adopt_orphans()
        handlers = _load(_next(inbox))
    except BaseException as error:  # noqa: BLE001 # a mistake in a changed file, say: the error of the first attempt
        _send(answers, not_begun_by(error) or outcome_of_exception(error))
        return
    _send(answers, Ready())
    state = ChildState()
    while True:
        request = _next(inbox)
        _send(answers, Begun())
        outcome = contextvars.copy_context().run(_run, handlers, request, answers)
        _send(answers, ChildAnswer(outcome, is_clean=not isinstance(outcome, NotBegun) and state.is_restored()))
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


def _read_until_worker_ends(requests: io.BufferedReader, inbox: queue.SimpleQueue[bytes]) -> None:
    while size := requests.read(SIZE_BYTES):  # nothing once the worker's end of the pipe is closed
        inbox.put(requests.read(int.from_bytes(size, "big")))
    os.killpg(0, signal.SIGKILL)  # this process, and all that the handler started


def _next(inbox: queue.SimpleQueue[bytes]) -> Any:
    return pickle.loads(inbox.get())  # noqa: S301 # from our own worker


def _send(answers: io.BufferedWriter, message: object) -> None:
    answers.write(framed(message))
    answers.flush()


def _load(setup: ChildSetup) -> Mapping[str, Handler]:
    sys.path[:] = setup.search_path
    configure_logging(setup.log_level, setup.log_format)
    return load_handlers(setup.handlers_place)


def _run(handlers: Mapping[str, Handler], request: ChildRequest, answers: io.BufferedWriter) -> HandlerOutcome:
    handler, reporter = handlers.get(request.details.type), _Reporter(answers)

    def on_wait() -> None:
        _wait_warnings.handler_waits(request.details.type, request.details.queue)

    def run() -> Any:
        if handler is None:
            raise HandlerError(_missing(handlers, request))
        context = Context(request.details, report=reporter.report, is_stopped=lambda: False, on_wait=on_wait)
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
        reporter.close()


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


class _Reporter:
    """Sends the progress of one attempt, until that has ended."""

    def __init__(self, answers: io.BufferedWriter) -> None:
        self._answers = answers
        self._lock = threading.RLock()  # a signal handler of the handler's may report too
        self._is_closed = False

    def report(self, progress: Progress) -> None:
        with self._lock:
            if not self._is_closed:
                _send(self._answers, progress)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True


if __name__ == "__main__":
    main()
