"""What will be asked for: many runs of chance, drawn from what was asked for before. Nothing but arithmetic."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def totals(daily: Sequence[int], days: int, runs: int, seed: int | None) -> Iterator[int]:
    """Yield what `runs` stretches of `days` days ask for in all, each day as some day before (`daily`)."""
    draw = random.Random(seed)  # noqa: S311 # chance, not secrecy
    for _ in range(runs):
        yield sum(draw.choices(daily, k=days))
