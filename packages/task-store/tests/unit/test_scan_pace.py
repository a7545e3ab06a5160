from __future__ import annotations

from contextlib import suppress

from task_store import ScanPace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_scan_that_fails_after_a_long_time_is_not_repeated_at_once() -> None:
    clock = Clock()
    pace = ScanPace(clock=clock)

    with suppress(TimeoutError), pace.measured():
        clock.now += 1.0
        raise TimeoutError
    due = []
    for clock.now in (1.0, 19.9, 20.1):
        due.append(pace.is_due)

    assert due == [False, False, True]


def test_cheap_scan_is_due_each_time() -> None:
    pace = ScanPace(clock=Clock())

    with pace.measured():
        pass

    assert (pace.is_cheap, pace.is_due) == (True, True)
