from __future__ import annotations

from task_contracts import BackOff


def test_pauses_grow_by_the_factor_up_to_the_longest() -> None:
    back_off = BackOff(first_seconds=2.0, longest_seconds=600.0, factor=3.0)

    assert [back_off.pause_seconds(failures) for failures in range(1, 8)] == [2.0, 6.0, 18.0, 54.0, 162.0, 486.0, 600.0]


def test_a_long_series_of_failures_stays_at_the_longest() -> None:
    back_off = BackOff(first_seconds=0.1, longest_seconds=5.0)

    assert back_off.pause_seconds(1_000_000) == 5.0


def test_before_the_first_failure_the_pause_is_the_first() -> None:
    assert BackOff(first_seconds=0.1, longest_seconds=5.0).pause_seconds(0) == 0.1


def test_full_jitter_spreads_pauses_over_the_whole_length() -> None:
    back_off = BackOff(first_seconds=1.0, longest_seconds=1.0, jitter=1.0)

    pauses = [back_off.pause_seconds(1) for _ in range(1_000)]

    assert 0.0 <= min(pauses) < 0.1
    assert 0.9 < max(pauses) <= 1.0


def test_half_jitter_keeps_half_of_the_pause() -> None:
    back_off = BackOff(first_seconds=1.0, longest_seconds=1.0, jitter=0.5)

    assert all(0.5 <= back_off.pause_seconds(1) <= 1.0 for _ in range(1_000))
