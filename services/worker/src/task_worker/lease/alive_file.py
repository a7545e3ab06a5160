"""A file that a worker touches while it is alive, for the health check of its container.

The worker touches it while its heartbeat's thread and its event loop both answer, whatever the database does. So a
worker that waits for its database counts as alive, and one that is frozen or hangs does not.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

TOUCHES_A_LEASE = 30
_MISSED_TOUCHES = 10
"""After so many the worker counts as dead: a third of a lease."""


@dataclass(frozen=True)
class AliveFile:
    """The file of one worker; `path` is None if there is none."""

    path: Path | None
    lease_seconds: float

    def begin(self) -> None:
        """Touch the file when the worker starts.

        Raises:
            OSError: the file cannot be written.

        """
        if self.path is not None:
            self.path.touch()

    def touch(self) -> None:
        """Touch the file. An error is ignored: the check will then report that the worker is not alive."""
        with contextlib.suppress(OSError):
            self.begin()

    def probe(self) -> tuple[bool, str]:
        """Return whether the worker is alive, and a sentence that says why. Called in another process."""
        if self.path is None:
            return False, "TASK_WORKER_ALIVE_FILE is not set: name a file for the worker to touch and the check to see"
        try:
            silent_seconds = time.time() - self.path.stat().st_mtime
        except OSError as error:
            return False, f"{self.path}: {error.strerror}; has the worker started?"
        # A time in the future (the clock was set back) proves nothing; a worker that is alive touches the file again.
        is_alive = abs(silent_seconds) <= self.lease_seconds * _MISSED_TOUCHES / TOUCHES_A_LEASE
        return is_alive, "alive" if is_alive else f"silent for {silent_seconds:.0f} s"
