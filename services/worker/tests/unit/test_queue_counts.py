"""What the leader counts where some of it takes too long, or the database is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from task_contracts import Priority
from task_runtime import NO_METER, Meter
from task_runtime.metrics.meter import NoMeter
from task_store import Activities, DatabaseUnavailableError, QueueCounts, QueueNow, ScanPace, StatementEndedError
from task_worker.leader.election import Leadership
from task_worker.leader.queue_counts import QueueCounting

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ENDED = StatementEndedError("too long")
AWAY = DatabaseUnavailableError("away")
Row = tuple[str, str]


class FakeCounts:
    """Statements that take time of a clock of their own, and fail as they are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds = 0.0
        """How long each count takes."""
        self.running_now: dict[Row, int] = {("default", "HIGH"): 4}
        self.failure_of_running: Exception | None = None
        self.failures: dict[Row, Exception] = {}
        self.empty: set[Row] = set()
        """Of which no task waits."""
        self.failure_of_any: Exception | None = None
        self.asked: list[Row] = []
        self.written: list[Mapping[str, Any]] = []

    async def running(self) -> dict[Row, int]:
        self.now += self.seconds
        if self.failure_of_running is not None:
            raise self.failure_of_running
        return self.running_now

    async def any_waiting(self, pairs: Collection[tuple[str, Priority]]) -> set[tuple[str, Priority]]:
        self.now += self.seconds
        if self.failure_of_any is not None:
            raise self.failure_of_any
        return {(queue, priority) for queue, priority in pairs if (queue, str(priority)) not in self.empty}

    async def waiting(self, queue: str, priority: Priority) -> Mapping[str, Any]:
        self.now += self.seconds
        self.asked.append(row := (queue, str(priority)))
        if row in self.failures:
            raise self.failures[row]
        return {"queue": queue, "priority": str(priority), "waiting": 7}

    async def write(self, counted: Iterable[Mapping[str, Any]]) -> None:
        self.written = list(counted)


class FakeActivities:
    def __init__(self) -> None:
        self.known: list[QueueNow] = []

    async def queues_now(self) -> tuple[datetime, list[QueueNow]]:
        return NOW, self.known


class ShownMeter(NoMeter):
    def __init__(self) -> None:
        self.shown: list[Any] = []

    def show_queues(self, now: datetime, figures: Any) -> None:
        self.shown.append((now, figures))


@pytest.fixture
def counts() -> FakeCounts:
    return FakeCounts()


@pytest.fixture
def activities() -> FakeActivities:
    return FakeActivities()


def counting(counts: FakeCounts, activities: FakeActivities, meter: Meter = NO_METER) -> QueueCounting:
    queues = ("default", "reports")
    one = QueueCounting(
        cast(QueueCounts, counts), cast(Activities, activities), queues, leadership=Leadership(), meter=meter
    )
    one._pace = ScanPace(clock=lambda: counts.now, longest_pause_seconds=one._pace._longest_pause_seconds)
    return one


async def test_every_priority_of_every_queue_is_counted_and_written_at_once(
    counts: FakeCounts, activities: FakeActivities
) -> None:
    await counting(counts, activities).count()

    running = {(one["queue"], one["priority"]): one["running"] for one in counts.written}
    everything = {(queue, str(priority)): 0 for queue in ("default", "reports") for priority in Priority}
    assert running == {**everything, ("default", "HIGH"): 4}
    assert {one["waiting"] for one in counts.written} == {7}


async def test_a_queue_that_was_taken_out_of_the_settings_is_counted_on(
    counts: FakeCounts, activities: FakeActivities
) -> None:
    activities.known = [
        QueueNow(queue, Priority.LOW, 5, waiting_is_capped=False, oldest_due_at=None, running=0, at=NOW)
        for queue in ("default", "former")
    ]

    await counting(counts, activities).count()

    assert Counter(one["queue"] for one in counts.written) == {"default": 3, "reports": 3, "former": 3}


async def test_a_row_that_takes_too_long_is_left_out_and_the_others_are_refreshed(
    counts: FakeCounts, activities: FakeActivities
) -> None:
    counts.failures = {("default", "LOW"): ENDED}
    with capture_logs() as logs:
        await counting(counts, activities).count()

    assert len(counts.written) == 5
    assert ("default", "LOW") not in {(one["queue"], one["priority"]) for one in counts.written}
    assert [(line["event"], line["queue"], line["priority"]) for line in logs] == [
        ("queue_not_counted", "default", "LOW")
    ]


async def test_what_is_empty_is_not_counted_by_itself(counts: FakeCounts, activities: FakeActivities) -> None:
    counts.empty = {(queue, str(priority)) for queue in ("default", "reports") for priority in Priority}
    counts.empty.remove(("reports", "LOW"))

    await counting(counts, activities).count()

    waiting = {(one["queue"], one["priority"]): one["waiting"] for one in counts.written}
    assert waiting == {**dict.fromkeys(counts.empty, 0), ("reports", "LOW"): 7}
    assert {one["running"] for one in counts.written} == {0, 4}
    assert counts.asked == [("reports", "LOW")]


async def test_where_it_takes_too_long_to_find_what_is_empty_each_is_counted(
    counts: FakeCounts, activities: FakeActivities
) -> None:
    counts.failure_of_any = ENDED

    await counting(counts, activities).count()

    assert [one["waiting"] for one in counts.written] == [7] * 6


async def test_where_what_runs_takes_too_long_what_waits_is_refreshed(
    counts: FakeCounts, activities: FakeActivities
) -> None:
    counts.failure_of_running = ENDED
    with capture_logs() as logs:
        await counting(counts, activities).count()

    assert [one["running"] for one in counts.written] == [None] * 6
    assert [line["event"] for line in logs] == ["running_not_counted"]


@pytest.mark.parametrize("place", ["running", "waiting"])
async def test_a_database_that_is_away_is_asked_once_and_again_soon(
    counts: FakeCounts, activities: FakeActivities, place: str
) -> None:
    counts.seconds = 5.0
    if place == "running":
        counts.failure_of_running = AWAY
    else:
        counts.failures = dict.fromkeys([("default", "LOW")], AWAY)
    one = counting(counts, activities)
    with capture_logs() as logs:
        await one.count()

    assert counts.asked == ([] if place == "running" else [("default", "LOW")])
    assert counts.written == []
    assert [line["event"] for line in logs] == ["queues_not_counted"]
    assert one.pause_seconds == 5


@pytest.mark.parametrize(("seconds", "pause"), [(0.0, 5), (0.01, 5), (1.0, 19 * 8), (5.0, 19 * 40)])
async def test_counting_takes_a_twentieth_of_the_time_however_slow_it_is(
    counts: FakeCounts, activities: FakeActivities, seconds: float, pause: float
) -> None:
    counts.seconds = seconds
    one = counting(counts, activities)

    await one.count()

    assert one.pause_seconds == pytest.approx(pause)


async def test_the_meter_is_shown_what_was_written(counts: FakeCounts, activities: FakeActivities) -> None:
    meter = ShownMeter()

    await counting(counts, activities, meter).count()

    assert meter.shown == [(NOW, activities.known)]
