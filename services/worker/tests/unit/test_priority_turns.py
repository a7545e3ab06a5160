from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from task_contracts import Priority
from task_worker.claim.priority_turns import PriorityTurns

WEIGHTS = {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}
ALL = set(Priority)


@pytest.mark.parametrize("weights", [(6, 3, 1), (1, 1, 1), (1000, 1, 1), (5, 7, 11)])
def test_every_window_of_the_sum_of_weights_holds_the_exact_shares(weights: tuple[int, int, int]) -> None:
    by_priority = dict(zip((Priority.HIGH, Priority.MEDIUM, Priority.LOW), weights, strict=True))
    turns, window = PriorityTurns(by_priority), sum(weights)

    taken = [turns.next(ALL) for _ in range(3 * window)]

    for start in range(0, 2 * window + 1, max(1, window // 10)):
        assert Counter(taken[start : start + window]) == by_priority


def test_turns_are_spread_out() -> None:
    turns = PriorityTurns(WEIGHTS)

    taken = [turns.next(ALL) for _ in range(10)]

    assert taken[0] is Priority.HIGH
    assert [Priority.HIGH] * 3 not in [taken[at : at + 3] for at in range(8)]


def test_whatever_else_comes_and_goes_low_waits_at_most_the_sum_of_the_weights() -> None:
    others = [{Priority.HIGH}, {Priority.MEDIUM}, {Priority.HIGH, Priority.MEDIUM}, set()]
    for pattern in product(others, repeat=4):
        turns = PriorityTurns(WEIGHTS)
        waited = longest = 0
        for at in range(200):
            if turns.next(pattern[at % 4] | {Priority.LOW}) is Priority.LOW:
                waited = 0
            else:
                waited += 1
                longest = max(longest, waited)

        assert longest < 10, pattern


def test_alone_each_priority_has_every_turn() -> None:
    turns = PriorityTurns(WEIGHTS)

    assert {turns.next({Priority.LOW}) for _ in range(50)} == {Priority.LOW}


def test_two_waiting_priorities_share_the_turns_of_both_by_weight() -> None:
    turns = PriorityTurns(WEIGHTS)

    assert Counter(turns.next({Priority.HIGH, Priority.LOW}) for _ in range(70)) == {
        Priority.HIGH: 60,
        Priority.LOW: 10,
    }


def test_a_priority_that_had_nothing_to_take_saves_no_turns() -> None:
    turns = PriorityTurns(WEIGHTS)
    for _ in range(1000):
        turns.next({Priority.HIGH, Priority.MEDIUM})

    assert Counter(turns.next(ALL) for _ in range(10)) == WEIGHTS
