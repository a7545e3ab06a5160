"""How long a task waits after a failure."""

from __future__ import annotations

import random
from datetime import timedelta

_FIRST_SECONDS = 2.0
_FACTOR = 3.0
_LONGEST_SECONDS = 600.0


def backoff(failures: int) -> timedelta:
    """Return a random pause of up to 2 s × 3^(failures - 1), at most ten minutes ("full jitter").

    After M. Brooker, "Exponential Backoff And Jitter" (AWS, 2015): spreading retries over the whole span makes tasks
    that failed together come back apart. `failures` is 1 and up.
    """
    longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * _FACTOR ** min(failures - 1, 20))
    return timedelta(seconds=random.uniform(0, longest))  # noqa: S311 # spreads load; nothing secret
