"""Whose turn it is: a weighted choice among priorities that have something to take. Pure.

Smooth weighted round robin: with HIGH 6 : MEDIUM 3 : LOW 1 and all three waiting, ten turns in a row hold six, three
and one, spread out. So a priority that waits is reached within `sum(weights)` turns, which is the bound of promise P5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from task_contracts import Priority


class WeightedTurns:
    """Gives turns to priorities by their weights, which are 1 or more."""

    def __init__(self, weights: Mapping[Priority, int]) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0)

    def next(self, waiting: Collection[Priority]) -> Priority:
        """Return the priority of `waiting`, which is not empty, whose turn it is.

        One that has nothing to take loses its credit: it cannot save up turns.
        """
        for priority, weight in self._weights.items():
            self._credit[priority] = self._credit[priority] + weight if priority in waiting else 0
        chosen = max(waiting, key=lambda priority: (self._credit[priority], self._weights[priority]))
        self._credit[chosen] -= sum(self._weights[priority] for priority in waiting)
        return chosen
