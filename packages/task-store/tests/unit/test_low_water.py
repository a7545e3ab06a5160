from __future__ import annotations

from datetime import UTC, datetime, timedelta

from task_contracts import Priority
from task_store import Lane
from task_store.low_water import BEGINNING, LowWater
from task_store.scan_pace import ScanPace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = Lane("default", Priority.HIGH, "a"), Lane("default", Priority.HIGH, "b")
EARLIER = NOW - timedelta(minutes=5)
JUST_NOW = NOW - timedelta(seconds=1)
SLACK = NOW - timedelta(seconds=3)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_scans_begin_at_the_beginning_while_that_is_cheap() -> None:
    water = LowWater()

    water.scanned(0.01, {A: EARLIER, B: None}, NOW)

    assert water.readable([A, B]) == {A: BEGINNING, B: BEGINNING}
    assert not water.is_whole_due([A, B])


def test_after_a_slow_scan_they_begin_at_what_was_seen_and_never_within_the_last_seconds() -> None:
    water = LowWater()

    water.scanned(0.2, {A: EARLIER, B: None}, NOW)
    first = water.readable([A, B])
    water.scanned(0.01, {A: JUST_NOW}, NOW)

    assert first == {A: EARLIER, B: SLACK}
    assert water.readable([A, B]) == {A: SLACK, B: SLACK}


def test_lane_that_was_never_scanned_is_left_to_a_whole_scan_which_is_due_at_once() -> None:
    water = LowWater()
    water.scanned(0.2, {A: EARLIER}, NOW)

    assert water.readable([A, B]) == {A: EARLIER}
    assert water.is_whole_due([A, B])


def test_scan_without_an_answer_is_not_repeated_from_the_beginning() -> None:
    water = LowWater()

    water.unanswered()

    assert water.readable([A]) == {}
    assert water.is_whole_due([A])


def test_whole_scans_take_a_twentieth_of_the_time_and_come_once_a_minute_at_least() -> None:
    clock = Clock()
    water = LowWater(ScanPace(clock=clock))
    water.scanned(0.2, {A: EARLIER}, NOW)
    at_first = water.is_whole_due([A])
    due = []

    for cost in (1.0, 30.0):
        with water.whole_scan():
            clock.now += cost
        began = clock.now
        for clock.now in (began + 18, began + 20, began + 59, began + 61):
            due.append(water.is_whole_due([A]))

    assert at_first
    assert due == [False, True, True, True, False, False, False, True]


def test_once_a_whole_scan_is_cheap_again_all_scans_begin_at_the_beginning() -> None:
    water = LowWater()
    water.scanned(0.2, {A: EARLIER}, NOW)

    with water.whole_scan():
        pass

    assert water.readable([A, B]) == {A: BEGINNING, B: BEGINNING}


def test_new_leader_begins_anew() -> None:
    water = LowWater()
    water.scanned(0.2, {A: EARLIER}, NOW)

    water.reset()

    assert water.readable([A]) == {A: BEGINNING}
