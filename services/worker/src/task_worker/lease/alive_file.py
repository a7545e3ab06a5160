"""Whether a worker lives: a file that it touches, and that the health check of its container looks at.

It is touched as long as the heartbeat's thread and the event loop both answer, whatever the database does: a worker
that waits for its database is to be left alone, one that is frozen or hangs is not.
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
    """The file of one worker; None where nobody looks."""

    path: Path | None
    lease_seconds: float

    def begin(self) -> None:
        """Touch it for the first time.

        Raises:
            OSError: it cannot be written.

        """
        if self.path is not None:
            self.path.touch()

    def touch(self) -> None:
        """Say that this worker lives. Where that cannot be written, the check will say that it does not."""
        with contextlib.suppress(OSError):
            self.begin()

    def probe(self) -> tuple[bool, str]:
        """Return whether the worker lives, and a line that says how it is. For another process."""
        if self.path is None:
            return False, "TASK_WORKER_ALIVE_FILE is not set: name a file for the worker to touch and the check to see"
        try:
            silent_seconds = time.time() - self.path.stat().st_mtime
        except OSError as error:
            return False, f"{self.path}: {error.strerror}; has the worker started?"
        # A touch of the future, once the clock was set back, proves nothing; a worker that lives makes a new one.
        is_alive = abs(silent_seconds) <= self.lease_seconds * _MISSED_TOUCHES / TOUCHES_A_LEASE
        return is_alive, "alive" if is_alive else f"silent for {silent_seconds:.0f} s"
