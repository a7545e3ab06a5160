"""The alive file of a parent: as fresh as the stalest of its processes' own.

A parent that is frozen or hangs leaves its file alone, so it counts as dead too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from task_worker.lease.alive_file import TOUCHES_A_LEASE, AliveFile


class AliveFiles:
    """Keeps the file of a parent up to date by those of its processes, as long as `run` runs.

    Args:
        parent: the file of the parent.
        paths: the files of its processes. One that does not exist is that of a process that was asked to stop.

    """

    def __init__(self, parent: AliveFile, paths: Sequence[Path]) -> None:
        self._parent = parent
        self._paths = paths

    def begin(self) -> None:
        """Touch all of them, as a worker does when it starts.

        Raises:
            OSError: one cannot be written.

        """
        for path in self._paths:
            AliveFile(path, self._parent.lease_seconds).begin()
        self._parent.begin()

    async def run(self) -> None:
        """Keep the parent's file up to date, for ever."""
        while True:
            self.update()
            await asyncio.sleep(self._parent.lease_seconds / TOUCHES_A_LEASE)

    def update(self) -> None:
        """Set the time of the parent's file to the oldest among its processes'. An error is ignored, as by a touch."""
        with contextlib.suppress(OSError):
            times = [path.stat().st_mtime for path in self._paths if path.exists()]
            if times:
                self._parent.touch(min(times))
