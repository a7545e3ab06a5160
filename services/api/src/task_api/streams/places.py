"""How many streams one process keeps open."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from task_api.problems import unavailable
from task_runtime import get_logger

_log = get_logger(__name__)

_SILENCE_SECONDS = 600.0
"""For so long the log does not repeat that a stream was refused."""


class StreamPlaces:
    """The places of open streams.

    Args:
        most: how many there are; waiting callers take none.

    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._said_at = -math.inf

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place until the block ends.

        Raises:
            ProblemError: 503, all are taken.

        """
        if self.taken >= self.most:
            if time.monotonic() - self._said_at >= _SILENCE_SECONDS:
                self._said_at = time.monotonic()
                _log.warning("streams_capped", limit=self.most)
            raise unavailable(f"{self.most} streams are open, the most that this server keeps; try again later")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
