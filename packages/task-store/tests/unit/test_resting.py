from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from task_store.resting import Resting


class Clock:
    now = 100.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resting(clock: Clock) -> Resting:
    return Resting(60.0, clock)


def rest(resting: Resting, task_id: UUID) -> None:
    resting.failed([task_id])
    resting.answered()
    assert resting.failed([task_id])


def test_a_task_that_failed_with_others_rests_once_it_fails_alone_while_those_are_answered(resting: Resting) -> None:
    culprit, *others = ids = [uuid4() for _ in range(4)]
    together = resting.failed(ids)
    resting.answered(others)

    assert (together, resting.failed([culprit])) == (False, True)
    assert resting.ids() == [culprit]


def test_a_task_that_fails_alone_twice_rests_if_others_were_answered_in_between(resting: Resting) -> None:
    task_id = uuid4()
    resting.answered()
    first = resting.failed([task_id])
    in_an_outage = resting.failed([task_id])
    resting.answered()

    assert (first, in_an_outage, resting.failed([task_id])) == (False, False, True)


def test_a_task_that_was_answered_since_has_not_failed(resting: Resting) -> None:
    task_id = uuid4()
    resting.failed([task_id])
    resting.answered([task_id])

    assert not resting.failed([task_id])


def test_tasks_that_fail_together_never_rest(resting: Resting) -> None:
    ids = [uuid4(), uuid4()]
    resting.failed(ids)
    resting.answered()

    assert not resting.failed(ids)


def test_a_task_rests_for_its_time_and_then_no_more(resting: Resting, clock: Clock) -> None:
    first, second = uuid4(), uuid4()
    rest(resting, first)
    clock.now = 130.0
    rest(resting, second)
    seen = []
    for moment in (159.9, 160.1, 189.9, 190.1):
        clock.now = moment
        seen.append(resting.ids())

    assert seen == [[first, second], [second], [second], []]


def test_what_is_remembered_is_bounded_in_number(resting: Resting) -> None:
    ids = [uuid4() for _ in range(1_005)]
    for task_id in ids:
        rest(resting, task_id)
    resting.failed(ids)

    assert resting.ids() == ids[5:]
    assert len(resting._failed_at_by_id) == 1_000
