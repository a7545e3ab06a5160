"""The process of one attempt: `python -m task_worker.attempt.runners.child_main`, started by `child_process`.

What the handler starts in turn holds neither pipe: else its worker would not see this process end, nor they the worker.
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

import orjson

from task_contracts import Progress, UnstorableJsonError
from task_runtime import configure_logging
from task_worker.attempt.outcome import Failed, HandlerOutcome, Returned, result_text, unstorable
from task_worker.attempt.runners.child_process import ChildRequest, framed
from task_worker.attempt.runners.thread import call
from task_worker.context import Context
from task_worker.loader import load_handlers


def main() -> None:
    """Take the order, run it, say what happened."""
    orders, answers = _taken_pipes()
    size = int.from_bytes(orders.read(4), "big")
    order: ChildRequest = pickle.loads(orders.read(size))  # noqa: S301 # from our own worker
    threading.Thread(target=_end_with_worker, args=(orders,), daemon=True).start()
    configure_logging(order.setup.log_level, order.setup.log_format)
    answers.write(framed(_plain(_run(order, answers))))
    answers.flush()
    _end()  # what the handler left running must not keep the slot, nor outlive a worker that dies just now


def _taken_pipes() -> tuple[io.BufferedReader, io.BufferedWriter]:
    """Return the two pipes, for us alone: the handler reads nothing, and what it prints goes to stderr."""
    _close_twins()
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    for pipe in (orders, answers):
        # The raw one: another thread may hold the buffer's lock in the moment of the fork.
        os.register_at_fork(after_in_child=pipe.raw.close)
    return orders, answers


def _close_twins() -> None:
    """Close what else we have of the two pipes: uvloop 0.23 leaves its own ends open in a process that it starts."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 # numbers, not paths
        with contextlib.suppress(OSError):  # the listing's own, closed by now
            if int(name) > 2 and any(os.path.sameopenfile(int(name), standard) for standard in (0, 1)):
                os.close(int(name))


def _end_with_worker(orders: io.BufferedReader) -> None:
    orders.read()  # returns when the worker's end of the pipe is closed
    _end()


def _end() -> None:
    """End this process and all that it started."""
    os.killpg(0, signal.SIGKILL)


def _run(order: ChildRequest, answers: io.BufferedWriter) -> HandlerOutcome:
    def report(progress: Progress) -> None:
        answers.write(framed(progress))
        answers.flush()

    def load_and_run() -> Any:
        # Loading is part of the attempt: what is wrong with a changed file is said as its error.
        handler = load_handlers(order.setup.handlers_place)[order.facts.type]
        arguments = handler.arguments(order.payload, Context(order.facts, report=report, is_stopped=lambda: False))
        if inspect.iscoroutinefunction(handler.function):
            return asyncio.run(handler.function(*arguments))
        return handler.function(*arguments)

    return call(load_and_run, ())


def _plain(happened: HandlerOutcome) -> HandlerOutcome:
    """Return it with its value as plain JSON: anything else might not even reach the worker."""
    if not isinstance(happened, Returned):
        return happened
    try:
        text = result_text(happened.value)
    except UnstorableJsonError as error:
        return Failed(unstorable(str(error)), is_final=True)
    return Returned(None if text is None else orjson.loads(text))


if __name__ == "__main__":
    main()
