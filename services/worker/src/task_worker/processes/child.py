"""What a worker process does that has a parent: it ends when that does, however that goes.

**Invariants**

- The parent holds the only writing end of the pipe that is this process's standard input, and writes nothing: the pipe
  closes when the parent is gone, also by SIGKILL.
- Code of handlers finds nothing to read there.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path


def end_with_parent() -> None:
    """From now on end at once, with all that the handlers have started here, when the parent is gone.

    Nothing is written about the tasks: the sweep brings them back, as it does those of a worker that was killed.
    """
    parent_pipe = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_wait_for_end, args=(parent_pipe,), name="parent", daemon=True).start()


def _wait_for_end(parent_pipe: int) -> None:
    os.read(parent_pipe, 1)
    os.killpg(0, signal.SIGKILL)  # the parent has started this process as the leader of a group
