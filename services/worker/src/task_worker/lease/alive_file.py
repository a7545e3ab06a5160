"""A file that a worker touches while it is alive, for the health check of its container.

The worker touches it while its heartbeat's thread and its event loop both answer, whatever the database does. So a
worker that waits for its database counts as alive, and one that is frozen or hangs does not.

The file says for how many seconds a touch counts, so that a shell can check it too (`task-worker-alive`).
"""

from __future__ import annotations

import contextlib
import os
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
        """Write the file when the worker starts.

        Raises:
            OSError: the file cannot be written.

        """
        if self.path is not None:
            self.path.write_text(f"{self._touch_seconds:g}\n")

    def touch(self, moment: float | None = None) -> None:
        """Set the time of the file to `moment`, in seconds since 1970; None means now.

        It is written anew if it is gone. An error is ignored: the check will then report that the worker is not alive.
        """
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            if not self.path.exists():
                self.begin()
            os.utime(self.path, None if moment is None else (moment, moment))

    def probe(self) -> tuple[bool, str]:
        """Return whether the worker is alive, and a sentence that says why. Called in another process."""
        if self.path is None:
            return False, "TASK_WORKER_ALIVE_FILE is not set: name a file for the worker to touch and the check to see"
        try:
            silent_seconds = time.time() - self.path.stat().st_mtime
        except OSError as error:
            return False, f"{self.path}: {error.strerror}; has the worker started?"
        # A time in the future (the clock was set back) proves nothing; a worker that is alive touches the file again.
        is_alive = abs(silent_seconds) <= self._touch_seconds
        return is_alive, "alive" if is_alive else f"silent for {silent_seconds:.0f} s"

    @property
    def _touch_seconds(self) -> float:
        """For how long a touch counts."""
        return self.lease_seconds * _MISSED_TOUCHES / TOUCHES_A_LEASE
