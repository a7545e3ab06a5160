from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import structlog

from task_contracts import OTHER_FAILURE, FailureKind, limits
from task_store import CountedFailure, DatabaseUnavailableError, Failures
from task_worker.failure_counts import FailureCounts

KIND = FailureKind("echo", "ValueError", "reports in build")


class FakeFailures:
    def __init__(self) -> None:
        self.written: list[list[CountedFailure]] = []
        self.is_away = False
        self.asked = asyncio.Event()

    async def count(self, counted: Sequence[CountedFailure]) -> None:
        self.asked.set()
        if self.is_away:
            raise DatabaseUnavailableError("gone")
        self.written.append(list(counted))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def failures() -> FakeFailures:
    return FakeFailures()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(failures: FakeFailures, clock: Clock) -> FailureCounts:
    return FailureCounts(cast(Failures, failures), seconds=0.001, clock=clock)


async def test_failures_of_a_kind_are_one_row_with_the_latest(
    counts: FailureCounts, failures: FakeFailures, clock: Clock
) -> None:
    latest = uuid4()
    counts.count(KIND, "first", uuid4())
    clock.now += 4.0
    counts.count(KIND, "latest", latest)
    clock.now += 3.0

    await counts.flush()
    await counts.flush()

    assert failures.written == [[CountedFailure(KIND, 2, "latest", latest, 7.0, 3.0)]]


async def test_counts_without_an_answer_are_dropped_and_said(counts: FailureCounts, failures: FakeFailures) -> None:
    failures.is_away = True
    counts.count(KIND, "lost", uuid4())
    with structlog.testing.capture_logs() as logs:
        await counts.flush()
    failures.is_away = False
    counts.count(KIND, "kept", uuid4())

    await counts.flush()

    assert [(line["event"], line["failures"]) for line in logs] == [("failures_uncounted", 1)]
    assert [[row.message for row in rows] for rows in failures.written] == [["kept"]]


async def test_kinds_without_end_take_no_more_room(counts: FailureCounts, failures: FakeFailures) -> None:
    full = limits.FINGERPRINTS_AN_HOUR
    for number in range(full + 50):
        counts.count(FailureKind("echo", f"Error{number}"), "", uuid4())
    counts.count(FailureKind("echo", "Error0"), "", uuid4())

    await counts.flush()

    by_kind = {row.kind: row.count for row in failures.written[0]}
    assert len(by_kind) == full + 1
    assert by_kind[OTHER_FAILURE] == 50
    assert by_kind[FailureKind("echo", "Error0")] == 2


@pytest.mark.parametrize("message", ["x" * 10_000_000, "\x00\ud800", "\x1b[2J"])
async def test_any_message_is_cut_and_storable(message: str, counts: FailureCounts, failures: FakeFailures) -> None:
    counts.count(KIND, message, uuid4())

    await counts.flush()

    kept = failures.written[0][0].message
    kept.encode()
    assert "\x00" not in kept
    assert 0 < len(kept) <= limits.FAILURE_MESSAGE_CHARS


async def test_it_writes_by_itself_and_goes_on_after_no_answer(
    counts: FailureCounts, failures: FakeFailures, until: Any
) -> None:
    async def next_id() -> UUID:
        return uuid4()

    failures.is_away = True
    counts.count(KIND, "lost", await next_id())
    running = asyncio.create_task(counts.run())
    async with asyncio.timeout(20):
        await failures.asked.wait()
    failures.is_away = False
    counts.count(KIND, "kept", await next_id())

    async def written() -> bool:
        return bool(failures.written)

    await until(written)
    running.cancel()
    assert failures.written[0][0].message == "kept"
