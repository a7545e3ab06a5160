"""The process of one attempt: `python -m task_worker.attempt.runners.child_main`, started by `child_process`.

Processes that the handler starts get neither pipe. With a copy of one, the worker would not see this process end, or
this process would not see the worker end.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

from task_contracts import Progress
from task_runtime import configure_logging
from task_worker.attempt.outcome import HandlerOutcome
from task_worker.attempt.runners.child_process import ChildRequest, framed
from task_worker.attempt.runners.thread import call
from task_worker.context import Context
from task_worker.loader import load_handlers


def main() -> None:
    """Read the request, run it, write the outcome."""
    requests, answers = _take_pipes()
    size = int.from_bytes(requests.read(4), "big")
    request: ChildRequest = pickle.loads(requests.read(size))  # noqa: S301 # from our own worker
    threading.Thread(target=_end_with_worker, args=(requests,), daemon=True).start()
    configure_logging(request.setup.log_level, request.setup.log_format)
    answers.write(framed(_run(request, answers)))
    answers.flush()
    _end()  # what the handler left running must neither keep the slot nor outlive a worker that dies just now


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


def _end_with_worker(requests: io.BufferedReader) -> None:
    requests.read()  # returns when the worker's end of the pipe is closed
    _end()


def _end() -> None:
    """End this process and all that it started."""
    os.killpg(0, signal.SIGKILL)


def _run(request: ChildRequest, answers: io.BufferedWriter) -> HandlerOutcome:
    def report(progress: Progress) -> None:
        answers.write(framed(progress))
        answers.flush()

    def load_and_run() -> Any:
        # Loading is part of the attempt: a mistake in a changed file becomes its error.
        handler = load_handlers(request.setup.handlers_place)[request.details.type]
        context = Context(request.details, report=report, is_stopped=lambda: False)
        arguments = handler.arguments(request.payload, context)
        if inspect.iscoroutinefunction(handler.function):
            return asyncio.run(handler.function(*arguments))
        return handler.function(*arguments)

    return call(load_and_run, ())


if __name__ == "__main__":
    main()
