"""Decides what runs next, of what was delivered: weighted turns among the priorities that wait. Pure.

Within a priority the queues of the worker take turns, and within a queue the oldest delivery comes first
(`PrefetchBuffer.take`). What was not delivered is picked by the poll: the statement `claims.OVERDUE` of the store, by
the same weights, longest due first.

The turns go round in a cycle that holds each priority as often as its weight says, spread out; a priority that has
nothing to take is passed over. So with HIGH 6 : MEDIUM 3 : LOW 1 and all three waiting, any ten turns hold six, three
and one, and whatever the others do, a priority that waits is reached within `sum(weights)` turns: the bound of promise
P5. (Credits as in smooth weighted round robin have no such bound where others come and go: 22 turns for LOW, not 10.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from task_contracts import Priority


class PriorityTurns:
    """Gives turns to priorities by their weights, which are 1 or more."""

    def __init__(self, weights: Mapping[Priority, int]) -> None:
        self._cycle = _spread_out(weights)
        self._at = 0

    def next(self, waiting: Collection[Priority]) -> Priority:
        """Return the priority of `waiting`, which is not empty, whose turn it is."""
        while True:
            priority = self._cycle[self._at]
            self._at = (self._at + 1) % len(self._cycle)
            if priority in waiting:
                return priority


def _spread_out(weights: Mapping[Priority, int]) -> list[Priority]:
    """Return one cycle, by smooth weighted round robin."""
    credit = dict.fromkeys(weights, 0)
    cycle = []
    for _ in range(sum(weights.values())):
        for priority, weight in weights.items():
            credit[priority] += weight
        chosen = max(credit, key=lambda priority: (credit[priority], weights[priority]))
        credit[chosen] -= sum(weights.values())
        cycle.append(chosen)
    return cycle
