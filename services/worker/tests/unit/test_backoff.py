from __future__ import annotations

from datetime import timedelta

import pytest

from task_worker.backoff import backoff


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 2), (2, 6), (3, 18), (4, 54), (5, 162), (6, 486), (7, 600), (25, 600), (10_000, 600)]
)
def test_the_pause_is_anything_up_to_three_times_the_one_before(failures: int, longest: float) -> None:
    pauses = [backoff(failures) for _ in range(2_000)]

    assert timedelta() <= min(pauses) < timedelta(seconds=longest * 0.05)
    assert timedelta(seconds=longest * 0.95) < max(pauses) <= timedelta(seconds=longest)
