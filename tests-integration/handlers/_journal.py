"""Where handlers note what they do: a line of JSON at each start and each end, in one file of each process.

It survives the loss of the database and the end of the process: a line is one write.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from task_worker import Context


@contextmanager
def journaled(context: Context) -> Iterator[None]:
    """Note the start of an attempt, and how it ended: `returned`, or the name of what was raised."""
    _note(context, "start")
    how = "returned"
    try:
        yield
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        _note(context, how)


def _note(context: Context, what: str) -> None:
    line = {
        "id": str(context.id),
        "attempt": context.attempt,
        "token": str(context.lease_token),
        "what": what,
        "pid": os.getpid(),
        "at": time.monotonic(),  # of one clock for all processes of a machine
    }
    path = Path(os.environ["TASK_TEST_JOURNAL"]) / f"{os.getpid()}.jsonl"
    file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)
