from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from task_contracts import BackOff, ErrorCode, FailureKind, Progress, TaskError
from task_contracts.lifecycle import Event
from task_store import (
    AttemptKey,
    Claim,
    DatabaseUnavailableError,
    Ended,
    Ending,
    StatementEndedError,
    UnstorableValuesError,
)
from task_worker.attempt.recorder import Recorder
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.lease.in_flight import Attempt, StopReason
from task_worker.timings import RecordTimings

Until = Callable[..., Awaitable[Any]]
AWAY = DatabaseUnavailableError("gone")


class FakeAttempts:
    """Gives the answers in `answers`, then records what it is asked to."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = []
        self.recorded: list[Ending] = []
        self.kept: list[str | None] = []
        self.alone: list[bool] = []
        self.progress: list[tuple[UUID, float]] = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def record(self, ending: Ending, *, alone: bool = False) -> Ended | None:
        self.recorded.append(ending)
        self.alone.append(alone)
        if self.answers:
            answer = self.answers.pop(0)
            if answer is None:
                return None
            raise answer
        return Ended(ending.id, ending.lease_token, ending.event, "t", 1, uuid4(), 0)

    async def store_checkpoint(self, key: AttemptKey, text: str | None, *, alone: bool = False) -> bool:
        del key
        self.kept.append(text)
        self.alone.append(alone)
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    async def report_progress(self, task_id: UUID, lease_token: UUID, reported: Progress) -> bool:
        del lease_token
        self.progress.append((task_id, reported.percent))
        await self.may_write.wait()
        return True


class Bench:
    def __init__(self, attempt: Attempt) -> None:
        self.attempts = FakeAttempts()
        self.waiting = 0
        """How often `on_waiting` was called."""
        self.attempt = attempt
        timings = RecordTimings(retry=BackOff(first_seconds=0.001, longest_seconds=2.0), progress_seconds=0.02)
        self.failures: list[tuple[FailureKind, str, UUID]] = []
        """What `on_failure` was told."""
        self.recorder = Recorder(
            self.attempts,  # type: ignore[arg-type] # the calls that are used
            timings,
            on_waiting=self._on_waiting,
            on_failure=lambda *told: self.failures.append(told),
        )

    def _on_waiting(self) -> None:
        self.waiting += 1


@pytest.fixture
def bench(a_claim: Callable[..., Claim]) -> Bench:
    return Bench(Attempt(a_claim(), 60, 3))


async def test_an_end_without_an_answer_is_repeated_until_there_is_one(bench: Bench) -> None:
    bench.attempts.answers = [DatabaseUnavailableError("gone")] * 3

    ended = await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, "1"))

    assert ended is not None
    assert ended.event is Event.COMPLETE
    assert len(bench.attempts.recorded) == 4


async def test_an_end_that_the_server_ended_alone_is_repeated_alone(bench: Bench) -> None:
    ended, away = StatementEndedError("too long"), DatabaseUnavailableError("gone")
    bench.attempts.answers = [away, ended, ended, away]

    assert await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, "1")) is not None
    assert bench.attempts.alone == [False, False, True, True, True]


async def test_no_row_means_that_nothing_more_is_to_be_written(bench: Bench) -> None:
    bench.attempts.answers = [DatabaseUnavailableError("gone"), None]

    assert await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, "1")) is None
    assert len(bench.attempts.recorded) == 2


async def test_it_is_noted_where_an_earlier_try_may_have_stored_the_end(bench: Bench) -> None:
    bench.attempts.answers = [UnstorableValuesError("no", sqlstate="22P05"), None]
    await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, "1"))
    assert not bench.attempt.is_end_unknown

    bench.attempts.answers = [DatabaseUnavailableError("gone"), None]
    await bench.recorder.record(bench.attempt, Ending.release(bench.attempt.claim))

    assert bench.attempt.is_end_unknown
    assert bench.waiting == 1  # it waits again, if that was so


async def test_what_the_database_refuses_becomes_a_failure(bench: Bench) -> None:
    bench.attempts.answers = [UnstorableValuesError("no", sqlstate="22P05")]

    ended = await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, "1"))

    assert ended is not None
    assert ended.event is Event.FAIL
    error = bench.attempts.recorded[-1].error
    assert error is not None
    assert error.code == ErrorCode.UNSTORABLE_RESULT


async def test_failure_is_told_once_it_is_stored(bench: Bench) -> None:
    kind, error = FailureKind("t", "ValueError"), TaskError(code=ErrorCode.HANDLER_ERROR, message="no")
    bench.attempts.answers = [AWAY, AWAY]

    await bench.recorder.record(bench.attempt, Ending.fail(bench.attempt.claim, error, kind=kind))

    assert bench.failures == [(kind, "no", bench.attempt.claim.id)]


async def test_failure_is_told_where_its_answer_was_lost_and_not_where_it_was_refused_as_late(bench: Bench) -> None:
    error = TaskError(code=ErrorCode.HANDLER_ERROR, message="no")
    ending = Ending.fail(bench.attempt.claim, error, kind=FailureKind("t", "ValueError"))
    bench.attempts.answers = [None]
    await bench.recorder.record(bench.attempt, ending)
    assert bench.failures == []

    bench.attempts.answers = [AWAY, None]
    await bench.recorder.record(bench.attempt, ending)

    assert len(bench.failures) == 1


async def test_result_that_the_database_refuses_is_a_failure_of_its_own_kind(bench: Bench) -> None:
    bench.attempts.answers = [UnstorableValuesError("no", sqlstate="22P05")]

    await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, "1"))

    ((kind, _, _),) = bench.failures
    assert kind == FailureKind(bench.attempt.claim.type, ErrorCode.UNSTORABLE_RESULT)


async def test_an_attempt_that_is_dropped_is_not_written_any_more(bench: Bench, until: Until) -> None:
    bench.attempts.answers = [DatabaseUnavailableError("gone")] * 1000
    recording = asyncio.create_task(bench.recorder.record(bench.attempt, Ending.release(bench.attempt.claim)))
    await until(lambda: bench.attempts.recorded)

    bench.attempt.is_dropped = True

    assert await recording is None


@pytest.mark.parametrize(("event", "calls"), [("complete", 0), ("release", 1)])
async def test_it_reports_when_a_task_waits_again(bench: Bench, event: str, calls: int) -> None:
    claim = bench.attempt.claim
    ending = Ending.complete(claim, None) if event == "complete" else Ending.release(claim)

    await bench.recorder.record(bench.attempt, ending)

    assert bench.waiting == calls


async def test_the_last_progress_is_written_before_the_end(bench: Bench) -> None:
    bench.recorder.report(bench.attempt, Progress(percent=10))
    bench.recorder.report(bench.attempt, Progress(percent=100))

    await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, None))

    assert bench.attempts.progress == [(bench.attempt.claim.id, 100)]


async def test_the_end_waits_for_progress_that_is_just_being_written(bench: Bench, until: Until) -> None:
    bench.attempts.may_write.clear()
    writing = asyncio.create_task(bench.recorder.write_progress())
    bench.recorder.report(bench.attempt, Progress(percent=100))
    await until(lambda: bench.attempts.progress)

    recording = asyncio.create_task(bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, None)))
    await asyncio.wait([recording], timeout=0.02)
    assert bench.attempts.recorded == []

    bench.attempts.may_write.set()
    assert await asyncio.wait_for(recording, 10) is not None
    writing.cancel()


async def test_an_end_that_waits_for_progress_goes_on_when_the_writing_is_stopped(bench: Bench, until: Until) -> None:
    bench.attempts.may_write.clear()
    writing = asyncio.create_task(bench.recorder.write_progress())
    bench.recorder.report(bench.attempt, Progress(percent=10))
    await until(lambda: bench.attempts.progress)
    recording = asyncio.create_task(bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, None)))

    writing.cancel()

    assert await asyncio.wait_for(recording, 10) is not None


async def test_progress_in_quick_succession_is_folded_together(bench: Bench, until: Until) -> None:
    writing = asyncio.create_task(bench.recorder.write_progress())
    for percent in range(51):
        bench.recorder.report(bench.attempt, Progress(percent=percent))
    await until(lambda: bench.attempts.progress)
    bench.recorder.report(bench.attempt, Progress(percent=70))
    bench.recorder.report(bench.attempt, Progress(percent=80))
    await until(lambda: len(bench.attempts.progress) == 2)
    writing.cancel()

    assert [percent for _, percent in bench.attempts.progress] == [50, 80]


async def test_progress_after_the_code_has_ended_is_not_written(bench: Bench) -> None:
    bench.attempt.is_running = False
    bench.recorder.report(bench.attempt, Progress(percent=10))

    await bench.recorder.record(bench.attempt, Ending.complete(bench.attempt.claim, None))

    assert bench.attempts.progress == []


async def test_a_release_that_fails_is_left_to_the_next_reconciling(bench: Bench) -> None:
    bench.attempts.answers = [DatabaseUnavailableError("gone")]

    await bench.recorder.release(bench.attempt.claim)

    assert (len(bench.attempts.recorded), bench.waiting) == (1, 0)


async def test_a_release_that_changes_nothing_wakes_nobody(bench: Bench) -> None:
    bench.attempts.answers = [None]

    await bench.recorder.release(bench.attempt.claim)

    assert bench.waiting == 0


class TestCheckpoints:
    async def test_one_without_an_answer_is_repeated_until_it_is_stored(self, bench: Bench) -> None:
        bench.attempts.answers = [DatabaseUnavailableError("gone"), StatementEndedError("too long"), AWAY]

        outcome = await bench.recorder.write_checkpoint(bench.attempt, "1")

        assert outcome is CheckpointOutcome.STORED
        assert bench.attempts.kept == ["1"] * 4
        assert bench.attempts.alone == [False, False, True, True]

    async def test_a_task_that_is_no_longer_held_stops_its_attempt(self, bench: Bench) -> None:
        bench.attempts.answers = [None]

        outcome = await bench.recorder.write_checkpoint(bench.attempt, "1")

        assert outcome is CheckpointOutcome.STOPPED
        assert (bench.attempt.stop_reason, bench.attempt.is_urgent) == (StopReason.NOT_HELD, True)

    async def test_what_the_database_refuses_is_not_repeated(self, bench: Bench) -> None:
        bench.attempts.answers = [UnstorableValuesError("no", sqlstate="22P05")]

        outcome = await bench.recorder.write_checkpoint(bench.attempt, "1")

        assert outcome is CheckpointOutcome.REFUSED
        assert (bench.attempts.kept, bench.attempt.stop_reason) == (["1"], None)

    async def test_after_a_stop_it_is_tried_once(self, bench: Bench) -> None:
        bench.attempt.stop(StopReason.DRAIN)

        assert await bench.recorder.write_checkpoint(bench.attempt, "1") is CheckpointOutcome.STORED

        bench.attempts.answers = [AWAY]
        assert await bench.recorder.write_checkpoint(bench.attempt, "2") is CheckpointOutcome.STOPPED
        assert bench.attempts.kept == ["1", "2"]

    async def test_a_stop_ends_the_repeats(self, bench: Bench, until: Until) -> None:
        bench.attempts.answers = [AWAY] * 1000
        writing = asyncio.create_task(bench.recorder.write_checkpoint(bench.attempt, "1"))
        await until(lambda: bench.attempts.kept)

        bench.attempt.stop(StopReason.TIMEOUT)

        assert await writing is CheckpointOutcome.STOPPED

    async def test_it_is_not_tried_after_an_urgent_stop_or_the_end_of_the_code(self, bench: Bench) -> None:
        bench.attempt.is_running = False
        assert await bench.recorder.write_checkpoint(bench.attempt, "1") is CheckpointOutcome.STOPPED

        bench.attempt.is_running = True
        bench.attempt.stop(StopReason.LEASE_LOST)
        assert await bench.recorder.write_checkpoint(bench.attempt, "1") is CheckpointOutcome.STOPPED

        assert bench.attempts.kept == []
