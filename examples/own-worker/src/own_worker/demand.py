"""Simulates demand by drawing days at random from the days so far. Nothing but arithmetic."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def totals(daily: Sequence[int], days: int, runs: int, seed: int | None) -> Iterator[int]:
    """Yield the total demand of `days` days, `runs` times; each day's demand is drawn at random from `daily`."""
    draw = random.Random(seed)  # noqa: S311 # a simulation, not a secret
    for _ in range(runs):
        yield sum(draw.choices(daily, k=days))
