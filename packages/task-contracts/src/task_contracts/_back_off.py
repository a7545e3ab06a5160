"""The one back-off of the task service: how long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass

_EXPONENT_MAX = 64
"""Keeps the power finite in a long series; every `longest_seconds` in use is reached much earlier."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """Exponential back-off with a ceiling and, where wanted, jitter.

    Args:
        first_seconds: the pause after the first failure; above 0.
        longest_seconds: no pause is longer.
        factor: each pause is this many times the one before; 1 or more.
        jitter: the share of a pause that is random, 0 to 1. With 1 a pause is anything between 0 and its full
            length ("full jitter": M. Brooker, "Exponential Backoff And Jitter", AWS, 2015), which spreads the
            repeats of many callers that failed together.

    """

    first_seconds: float
    longest_seconds: float
    factor: float = 2.0
    jitter: float = 0.0

    def pause_seconds(self, failures: int) -> float:
        """Return how long to wait after this many failures in a row: 1 and up, anything less counts as 1."""
        exponent = min(max(failures, 1) - 1, _EXPONENT_MAX)
        full = min(self.longest_seconds, self.first_seconds * self.factor**exponent)
        return full * random.uniform(1 - self.jitter, 1) if self.jitter else full  # noqa: S311 # spreads load only
