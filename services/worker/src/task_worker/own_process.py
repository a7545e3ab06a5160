"""Where this worker runs, as it says of itself in its row."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version

from task_contracts import storable_text
from task_store import WorkerProcess

_HOST_CHARS = 253
"""The longest name of a host (RFC 1035)."""


def this_process(slots: int) -> WorkerProcess:
    """Return the host, the process and the version of this worker; `slots` is how many tasks it runs at once."""
    return WorkerProcess(storable_text(socket.gethostname(), _HOST_CHARS), os.getpid(), version("task-worker"), slots)
