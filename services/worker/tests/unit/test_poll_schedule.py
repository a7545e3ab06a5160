from __future__ import annotations

from task_worker.claim.poll_schedule import PollSchedule
from task_worker.timings import PollTimings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def intervals(*polls: tuple[int | None, bool]) -> list[float]:
    """Return how long the schedule waits after each of these polls: (found, reaches_broker)."""
    clock = Clock()
    schedule, waits = PollSchedule(PollTimings(), clock), []
    for found, reaches_broker in polls:
        schedule.polled(found, reaches_broker=reaches_broker)
        waits.append(schedule.seconds_left)
    return waits


def test_with_nothing_delivered_the_first_poll_comes_after_a_second() -> None:
    clock = Clock()
    schedule = PollSchedule(PollTimings(), clock)
    assert (schedule.is_due(is_busy=False), schedule.seconds_left) == (False, 1.0)

    clock.now += 1.0

    assert (schedule.is_due(is_busy=False), schedule.seconds_left) == (True, 0.0)


def test_the_poll_comes_less_often_while_it_finds_nothing_and_the_broker_answers() -> None:
    assert intervals(*[(0, True)] * 5) == [2, 4, 5, 5, 5]


def test_without_the_broker_or_the_database_it_comes_every_second() -> None:
    assert intervals((0, True), (0, True), (0, False), (0, True), (None, True), (None, False)) == [2, 4, 1, 2, 1, 1]


def test_it_comes_again_at_once_while_it_finds_any() -> None:
    assert intervals((0, True), (3, True), (1, False), (0, True)) == [2, 0, 0, 1]


def test_while_deliveries_wait_it_gets_one_pick_in_ten_whatever_the_clock_says() -> None:
    clock = Clock()
    schedule = PollSchedule(PollTimings(), clock)
    clock.now += 3600

    turns = [schedule.is_due(is_busy=True) for _ in range(40)]

    assert [at for at, is_turn in enumerate(turns, 1) if is_turn] == [10, 20, 30, 40]
