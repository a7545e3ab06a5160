"""Where this worker runs, as it says of itself in its row."""

from __future__ import annotations

import os
from importlib.metadata import version

from task_runtime import host_name
from task_store import WorkerProcess


def this_process(slots: int) -> WorkerProcess:
    """Return the host, the process and the version of this worker; `slots` is how many tasks it runs at once."""
    return WorkerProcess(host_name(), os.getpid(), version("task-worker"), slots)
