"""The process of one attempt: `python -m task_worker.runners.child`, started by `task_worker.runners.process`."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import sys
import threading
from typing import BinaryIO

import orjson

from task_contracts import Progress, UnstorableJsonError
from task_runtime import configure_logging
from task_worker.context import Context
from task_worker.loader import load_handlers
from task_worker.outcomes import Failed, Happened, Returned, result_text, unstorable
from task_worker.runners.process import Order, framed
from task_worker.runners.thread import call


def main() -> None:
    """Take the order, run it, say what happened."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the handler prints must not mix with what we say
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    order: Order = pickle.loads(sys.stdin.buffer.read(size))  # noqa: S301 # from our own worker
    threading.Thread(target=_end_with_worker, daemon=True).start()
    configure_logging(order.setup.log_level, order.setup.log_format)
    answers.write(framed(_plain(_run(order, answers))))
    answers.flush()
    os._exit(0)  # threads that the handler left running must not keep the slot


def _end_with_worker() -> None:
    sys.stdin.buffer.read()  # returns when the worker's end of the pipe is closed
    os._exit(1)


def _run(order: Order, answers: BinaryIO) -> Happened:
    def report(progress: Progress) -> None:
        answers.write(framed(progress))
        answers.flush()

    handler = load_handlers(order.setup.handlers_place)[order.facts.type]
    context = Context(order.facts, report=report, is_stopped=lambda: False)
    arguments = handler.arguments(order.payload, context)
    if inspect.iscoroutinefunction(handler.function):
        return call(lambda: asyncio.run(handler.function(*arguments)), ())
    return call(handler.function, arguments)


def _plain(happened: Happened) -> Happened:
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
