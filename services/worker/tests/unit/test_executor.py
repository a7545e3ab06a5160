from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, field_validator
from structlog.testing import capture_logs

from task_client import TaskClientError
from task_contracts import ErrorCode, Priority, Progress
from task_contracts.lifecycle import Event
from task_runtime.log_context import add_log_fields
from task_runtime.observers import Kind, Observers
from task_store import AttemptKey, Claim, Ended, Ending
from task_worker import Context, Fail, Snooze, TaskCancelled, handler
from task_worker.attempt.ending import NOT_BEGUN_SECONDS
from task_worker.attempt.executor import AttemptServices, Executor, RunDefaults
from task_worker.attempt.runners.child_messages import ChildSetup
from task_worker.attempt.runners.process_pool import PoolLimits, ProcessPool
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.claim.slots import Slots
from task_worker.handlers import Handler
from task_worker.lease.in_flight import Attempt, InFlight, StopReason
from task_worker.lease.lease import Lease
from task_worker.timings import AttemptTimings

Until = Callable[..., Awaitable[Any]]


class Number(BaseModel):
    n: int


class Odd(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def _broken(cls, value: int) -> int:
        raise LookupError("not there")


class Hopeless(BaseException):
    pass


class UnspeakableError(Exception):
    def __str__(self) -> str:
        sys.exit(2)

    __repr__ = __str__


class Notes(Observers):
    """What an observer was told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.started_kinds: list[tuple[Kind, float]] = []
        self.ends: list[tuple[Kind, Event, float, float]] = []

    def started(self, kind: Kind, wait_seconds: float) -> None:
        self.started_kinds.append((kind, wait_seconds))

    def ended(self, kind: Kind, event: Event, run_seconds: float, total_seconds: float) -> None:
        self.ends.append((kind, event, run_seconds, total_seconds))


class Bench:
    """An executor whose endings are kept instead of recorded."""

    def __init__(self, handlers: dict[str, Handler], make_claim: Callable[..., Claim]) -> None:
        self._make_claim = make_claim
        self.endings: list[Ending] = []
        self.reported: list[Progress] = []
        self.kept: list[str | None] = []
        self.in_flight = InFlight(claim_seconds=6)
        self.slots = Slots(5, 1 << 20)
        self.lease = Lease(30)
        self.lease.begin(uuid4(), time.monotonic())
        self.may_record = asyncio.Event()
        self.may_record.set()
        self.is_recorded = True
        """Whether the next endings change a row."""
        self.is_end_unknown = False
        """Whether a try of each got no answer before."""
        self.recorded_as: Event | None = None
        """What the database makes of the endings; what was asked for if None."""
        self.notes = Notes()
        self.executor = Executor(
            handlers,
            RunDefaults(timeout_seconds=600, max_attempts=3, api_url="http://127.0.0.1:9000"),
            AttemptServices(
                record=self._record,
                release=self._release,
                report=self._report,
                write_checkpoint=self._write_checkpoint,
                processes=ProcessPool(ChildSetup(None, "INFO", "json"), PoolLimits(1, 1), AttemptTimings()),
                timings=AttemptTimings(overdue_seconds=0.02),
                observer=self.notes,
            ),
            in_flight=self.in_flight,
            slots=self.slots,
            lease=self.lease,
        )

    def start(self, type_: str, **fields: Any) -> Attempt:
        claim = self._make_claim(type=type_, **fields)
        self.executor.start(claim)
        return self.in_flight.attempts()[-1]

    async def ending(self) -> Ending:
        assert await self.executor.wait_done(10)
        return self.endings[-1]

    async def _record(self, attempt: Attempt, ending: Ending) -> Ended | None:
        await self.may_record.wait()
        self.endings.append(ending)
        attempt.is_end_unknown = self.is_end_unknown
        claim = attempt.claim
        if not self.is_recorded:
            return None
        event = self.recorded_as or ending.event
        return Ended(claim.id, claim.lease_token, event, claim.type, claim.attempt, uuid4(), 0)

    async def _release(self, key: AttemptKey) -> None:
        raise AssertionError(key)

    async def _write_checkpoint(self, attempt: Attempt, text: str | None) -> CheckpointOutcome:
        del attempt
        self.kept.append(text)
        return CheckpointOutcome.STORED

    def _report(self, attempt: Attempt, progress: Progress) -> None:
        del attempt
        self.reported.append(progress)


Make = Callable[..., Bench]


@pytest.fixture
async def make(handlers_of: Callable[..., dict[str, Handler]], a_claim: Callable[..., Claim]) -> AsyncIterator[Make]:
    made: list[Bench] = []

    def bench(*functions: Callable[..., Any]) -> Bench:
        made.append(Bench(handlers_of(*functions), a_claim))
        return made[-1]

    yield bench
    for one in made:
        one.executor.close()


class TestLateEnds:
    """A statement that changes no row: the outcome is dropped, or an earlier try has stored it."""

    @pytest.mark.parametrize(
        ("is_end_unknown", "is_lease_valid", "event"),
        [(True, True, "attempt_failed"), (True, False, "late_end_refused"), (False, True, "late_end_refused")],
    )
    async def test_only_an_end_that_no_earlier_try_of_ours_has_stored_is_refused(
        self, make: Make, is_end_unknown: bool, is_lease_valid: bool, event: str
    ) -> None:
        @handler("t")
        async def run() -> None:
            raise Fail("no")

        bench = make(run)
        bench.is_recorded, bench.is_end_unknown = False, is_end_unknown
        bench.may_record.clear()
        with capture_logs() as logs:
            bench.start("t")
            if not is_lease_valid:
                while bench.in_flight.running():  # noqa: ASYNC110 # it takes a step or two of the loop
                    await asyncio.sleep(0)
                bench.lease.end()
            bench.may_record.set()
            await bench.ending()

        assert [line["event"] for line in logs] == [event]

    @pytest.mark.parametrize(("failures", "level"), [(0, "warning"), (2, "error")])
    async def test_a_failure_is_logged_with_its_traceback_and_by_whether_somebody_should_look(
        self, make: Make, failures: int, level: str
    ) -> None:
        @handler("t", max_attempts=3)
        async def run() -> None:
            raise ValueError("no such customer: 42")

        bench = make(run)
        with capture_logs() as logs:
            bench.start("t", failures=failures)
            await bench.ending()

        (line,) = logs
        assert (line["event"], line["log_level"]) == ("attempt_failed", level)
        assert line["error"] == "ValueError: no such customer: 42"
        assert line["exception"].startswith("Traceback (most recent call last):")
        assert ("again_in_seconds" in line) == (level == "warning")

    @pytest.mark.parametrize("failures", [0, 2])
    async def test_a_failure_of_a_task_that_was_cancelled_meanwhile_needs_nobody(
        self, make: Make, failures: int
    ) -> None:
        @handler("t", max_attempts=3)
        async def run() -> None:
            raise ValueError("no such customer: 42")

        bench = make(run)
        bench.recorded_as = Event.CONFIRM_CANCEL
        with capture_logs() as logs:
            bench.start("t", failures=failures)
            await bench.ending()

        (line,) = logs
        assert (line["event"], line["log_level"]) == ("attempt_failed", "warning")
        assert line["event_recorded"] == "CONFIRM_CANCEL"
        assert "again_in_seconds" not in line

    @pytest.mark.parametrize(("logs_all", "expected"), [(True, ["attempt_ended"]), (False, [])])
    async def test_a_good_end_has_a_line_where_all_are_wanted(
        self, make: Make, logs_all: bool, expected: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        @handler("t")
        async def run() -> None:
            return None

        bench = make(run)
        bench.executor._defaults = replace(bench.executor._defaults, logs_all=logs_all)
        with capture_logs() as logs:
            bench.start("t")
            await bench.ending()

        assert [line["event"] for line in logs] == expected
        assert [line["log_level"] for line in logs] == ["info"] * len(expected)

    async def test_a_worker_without_an_id_logs_none(self, make: Make) -> None:
        @handler("t")
        async def run() -> None:
            raise AssertionError

        bench = make(run)
        bench.lease.end()
        with capture_logs(processors=[add_log_fields]) as logs:
            bench.is_recorded = False
            bench.start("t")
            await bench.ending()

        assert [line["worker_id"] for line in logs] == [None]


class TestCounting:
    KIND = Kind("default", Priority.HIGH, "t")

    async def test_an_attempt_is_told_when_it_begins_with_how_long_its_task_was_due(self, make: Make) -> None:
        go_on = asyncio.Event()

        @handler("t")
        async def run() -> None:
            await go_on.wait()

        bench, due_at = make(run), datetime(2026, 1, 1, tzinfo=UTC)
        bench.start("t", priority=Priority.HIGH, due_at=due_at, started_at=due_at + timedelta(seconds=2.5))

        assert bench.notes.started_kinds == [(self.KIND, 2.5)]
        assert bench.notes.ends == []
        go_on.set()
        await bench.ending()

    @pytest.mark.parametrize("place", ["loop", "thread"])
    async def test_an_end_has_the_run_of_the_handler_alone_and_all_the_time_since_its_task_was_accepted(
        self, make: Make, until: Until, place: str
    ) -> None:
        async def on_loop() -> None: ...

        def in_thread() -> None: ...

        bench = make(handler("t")(on_loop if place == "loop" else in_thread))
        bench.may_record.clear()
        started_at = datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
        attempt = bench.start("t", priority=Priority.HIGH, started_at=started_at)
        await until(lambda: not attempt.is_running)
        run_seconds = attempt.run_seconds
        assert bench.notes.ends == []
        bench.may_record.set()
        await bench.ending()

        ((kind, event, told, total),) = bench.notes.ends
        assert (kind, event) == (self.KIND, Event.COMPLETE)
        assert told == run_seconds > 0
        assert total > 7 + run_seconds

    async def test_the_event_told_is_the_one_that_was_stored(self, make: Make) -> None:
        @handler("t")
        async def run() -> None:
            raise Fail("no")

        bench = make(run)
        bench.recorded_as = Event.CONFIRM_CANCEL
        bench.start("t")
        await bench.ending()

        assert [event for _, event, *_ in bench.notes.ends] == [Event.CONFIRM_CANCEL]

    async def test_an_end_that_changed_no_row_is_not_told(self, make: Make) -> None:
        @handler("t")
        async def run() -> None: ...

        bench = make(run)
        bench.is_recorded = False
        bench.start("t")
        await bench.ending()

        assert bench.notes.ends == []

    async def test_code_that_was_not_begun_has_run_for_no_time(self, make: Make) -> None:
        @handler("t")
        async def run() -> None:
            raise AssertionError

        bench = make(run)
        bench.lease.end()
        bench.start("t")
        await bench.ending()

        assert [(event, seconds) for _, event, seconds, _ in bench.notes.ends] == [(Event.RELEASE, 0.0)]


class TestOutcomes:
    @pytest.mark.parametrize("place", ["loop", "thread"])
    async def test_a_value_completes(self, make: Make, place: str) -> None:
        async def on_loop(payload: Number) -> int:
            return payload.n + 1

        def in_thread(payload: Number) -> int:
            return payload.n + 1

        bench = make(handler("t")(on_loop if place == "loop" else in_thread))
        bench.start("t", payload={"n": 1})

        ending = await bench.ending()

        assert (ending.event, ending.result) == (Event.COMPLETE, "2")
        assert bench.in_flight.is_clear
        assert bench.slots.free == 5

    @pytest.mark.parametrize("place", ["loop", "thread"])
    @pytest.mark.parametrize(
        "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, TaskCancelled, GeneratorExit]
    )
    async def test_whatever_a_handler_raises_is_a_failure(
        self, make: Make, place: str, error: type[BaseException]
    ) -> None:
        async def on_loop() -> None:
            raise error

        def in_thread() -> None:
            raise error

        bench = make(handler("t")(on_loop if place == "loop" else in_thread))
        bench.start("t")

        ending = await bench.ending()

        assert ending.event is Event.RETRY
        assert ending.error is not None
        assert (ending.error.code, ending.error.type) == (ErrorCode.HANDLER_ERROR, error.__name__)

    async def test_a_payload_that_does_not_fit_fails_the_task_without_a_call(self, make: Make) -> None:
        @handler("t")
        async def run(payload: Number) -> None:
            raise AssertionError

        bench = make(run)
        bench.start("t", payload={"n": "a\x00b"})

        ending = await bench.ending()

        assert ending.event is Event.FAIL
        assert ending.error is not None
        assert ending.error.code == ErrorCode.INVALID_PAYLOAD
        assert ending.error.message.startswith("the payload does not fit: n: Input should be a valid integer")

    async def test_a_validator_that_breaks_is_a_failure_and_leaves_nothing_behind(self, make: Make) -> None:
        @handler("t")
        async def run(payload: Odd) -> None: ...

        bench = make(run)
        bench.start("t", payload={"n": 1})

        ending = await bench.ending()

        assert ending.event is Event.RETRY
        assert ending.error is not None
        assert ending.error.type == "LookupError"
        assert bench.in_flight.is_clear
        assert bench.slots.free == 5

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, Hopeless])
    async def test_whatever_a_validator_raises_is_a_failure(self, make: Make, error: type[BaseException]) -> None:
        class Leaves(BaseModel):
            n: int

            @field_validator("n")
            @classmethod
            def _leave(cls, value: int) -> int:
                raise error

        async def run(payload: BaseModel) -> None: ...

        run.__annotations__["payload"] = Leaves  # a name of this function, which a text annotation cannot have
        bench = make(handler("t", max_attempts=1)(run))
        bench.start("t", payload={"n": 1})

        ending = await bench.ending()

        assert ending.event is Event.FAIL
        assert ending.error is not None
        assert (ending.error.code, ending.error.type) == (ErrorCode.HANDLER_ERROR, error.__name__)
        assert bench.in_flight.is_clear

    @pytest.mark.parametrize("place", ["loop", "thread"])
    async def test_an_exception_whose_text_leaves_is_a_failure(self, make: Make, place: str) -> None:
        async def on_loop() -> None:
            raise UnspeakableError

        def in_thread() -> None:
            raise UnspeakableError

        bench = make(handler("t", max_attempts=1)(on_loop if place == "loop" else in_thread))
        bench.start("t")

        ending = await bench.ending()

        assert ending.event is Event.FAIL
        assert ending.error is not None
        assert ending.error.code == ErrorCode.HANDLER_ERROR

    async def test_an_exception_that_code_has_bent_is_a_failure(self, make: Make) -> None:
        @handler("t", max_attempts=1)
        async def run() -> None:
            snooze = Snooze(after_seconds=1)
            snooze.after_seconds = "soon"  # type: ignore[assignment] # that is the point
            raise snooze

        bench = make(run)
        bench.start("t")

        assert (await bench.ending()).event is Event.FAIL

    async def test_a_client_that_leaves_when_it_is_closed_changes_nothing(self, make: Make) -> None:
        @handler("t")
        async def run(context: Context) -> None:
            context.client.aclose = leave  # type: ignore[method-assign] # as a transport of the user's might

        async def leave() -> None:
            sys.exit(2)

        bench = make(run)
        bench.start("t")

        assert (await bench.ending()).event is Event.COMPLETE
        assert await bench.executor.wait_done(10)

    @pytest.mark.parametrize("in_process", [False, True])
    async def test_code_that_cannot_be_begun_is_released_for_a_while_and_does_not_run_later(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, *, in_process: bool
    ) -> None:
        ran = []

        async def no_process(*args: Any, **kwargs: Any) -> None:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        def no_thread(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        @handler("t", max_attempts=1, in_process=in_process)
        def run() -> None:
            ran.append(1)

        @handler("other")
        def other() -> None:
            ran.append(2)

        bench = make(run, other)
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(asyncio, "create_subprocess_exec", no_process)
            patch.setattr(threading.Thread, "start", no_thread)
            bench.start("t")
            ending = await bench.ending()
        bench.start("other")
        await bench.ending()

        assert (ending.event, ending.delay) == (Event.RELEASE, timedelta(seconds=NOT_BEGUN_SECONDS))
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["code_not_begun"]
        assert ran == [2]
        assert bench.in_flight.is_clear

    async def test_tasks_whose_code_cannot_be_begun_are_one_line_and_no_more_are_claimed(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def no_process(*args: Any, **kwargs: Any) -> None:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        @handler("t", in_process=True)
        def run() -> None: ...

        bench = make(run)
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(asyncio, "create_subprocess_exec", no_process)
            for _ in range(3):
                bench.start("t")
            await bench.ending()

        assert {ending.event for ending in bench.endings} == {Event.RELEASE}
        (line,) = [line for line in logs if line["log_level"] == "warning"]
        assert (line["event"], line["nothing_claimed_for_seconds"]) == ("code_not_begun", 5)
        assert "Resource temporarily unavailable" in line["reason"]
        assert bench.slots.free == 0

    async def test_attempts_are_the_tasks_own_else_the_handlers_else_the_settings(self, make: Make) -> None:
        @handler("plain")
        async def plain() -> None:
            raise ValueError

        @handler("own", max_attempts=2)
        async def own() -> None:
            raise ValueError

        bench = make(plain, own)
        events = []
        for type_, fields in [
            ("plain", {"failures": 1}),
            ("plain", {"failures": 2}),
            ("own", {"failures": 1}),
            ("own", {"failures": 1, "max_attempts": 5}),
            ("own", {"failures": 0, "max_attempts": 1}),
        ]:
            bench.start(type_, **fields)
            events.append((await bench.ending()).event)

        assert events == [Event.RETRY, Event.FAIL, Event.FAIL, Event.RETRY, Event.FAIL]

    async def test_progress_is_reported_from_a_loop_and_from_a_thread(self, make: Make, until: Until) -> None:
        @handler("loop")
        async def on_loop(context: Context) -> None:
            context.progress(-3, "x" * 1000)

        @handler("thread")
        def in_thread(context: Context) -> None:
            context.progress(150.5)

        bench = make(on_loop, in_thread)
        bench.start("loop")
        bench.start("thread")
        await bench.ending()

        await until(lambda: len(bench.reported) == 2)
        assert sorted(progress.percent for progress in bench.reported) == [0, 100]
        assert {len(progress.message or "") for progress in bench.reported} == {0, 500}

    async def test_a_client_is_closed_once_its_handler_has_ended(self, make: Make) -> None:
        clients = []

        @handler("t")
        async def run(context: Context) -> None:
            clients.append(context.client)

        bench = make(run)
        bench.start("t")

        assert (await bench.ending()).event is Event.COMPLETE
        assert clients[0]._http.is_closed


class TestTimeouts:
    async def test_an_async_handler_is_cancelled(self, make: Make) -> None:
        cleaned = []

        @handler("t", timeout_seconds=0.02)
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(1)

        bench = make(run)
        bench.start("t")

        ending = await bench.ending()

        assert ending.event is Event.RETRY
        assert ending.error is not None
        assert (ending.error.code, ending.error.message) == (ErrorCode.TIMEOUT, "the handler ran longer than 0.02 s")
        assert cleaned == [1]

    async def test_the_value_of_a_thread_that_ends_after_its_timeout_is_dropped(self, make: Make) -> None:
        seen = []

        @handler("t", timeout_seconds=0.02)
        def run(context: Context) -> str:
            while not context.is_stopped:
                time.sleep(0.001)
            seen.append(1)
            return "too late"

        bench = make(run)
        bench.start("t")

        ending = await bench.ending()

        assert (ending.event, ending.result, seen) == (Event.RETRY, None, [1])
        assert ending.error is not None
        assert ending.error.code == ErrorCode.TIMEOUT

    async def test_so_is_that_of_an_async_handler_that_swallows_its_cancellation(self, make: Make) -> None:
        @handler("t", timeout_seconds=0.02)
        async def run() -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "all the same"
            return ""

        bench = make(run)
        bench.start("t")

        ending = await bench.ending()

        assert ending.event is Event.RETRY

    async def test_the_tasks_own_timeout_wins(self, make: Make) -> None:
        @handler("t", timeout_seconds=600)
        async def run() -> None:
            await asyncio.Event().wait()

        bench = make(run)
        bench.start("t", timeout_seconds=0.01)

        assert (await bench.ending()).event is Event.RETRY

    async def test_a_thread_that_does_not_end_keeps_its_slot_and_is_reported(self, make: Make, until: Until) -> None:
        let_go = threading.Event()

        @handler("t", timeout_seconds=0.01)
        def run() -> None:
            wait_for_nobody()

        def wait_for_nobody() -> None:
            let_go.wait(10)

        bench = make(run)
        with capture_logs() as logs:
            attempt = bench.start("t")
            await until(lambda: [line for line in logs if line["event"] == "code_overdue"])
        line = logs[0]
        assert (line["task_id"], line["attempt"], line["type"]) == (str(attempt.claim.id), attempt.claim.attempt, "t")
        assert (line["reason"], line["timeout_seconds"]) == (StopReason.TIMEOUT, 0.01)
        assert (line["host"], line["pid"]) == (socket.gethostname(), os.getpid())
        assert line["seconds"] >= 0.01  # it was asked to stop after that
        assert "in wait_for_nobody" in line["stack"]
        assert "runners" not in line["stack"]
        assert (bench.slots.free, bench.endings) == (4, [])

        let_go.set()

        assert (await bench.ending()).event is Event.RETRY
        assert bench.slots.free == 5


class TestWaiting:
    """What is logged of handlers that wait for another task through their context's clients."""

    @staticmethod
    async def logged(make: Make, until: Until, tasks: int) -> list[tuple[str, str]]:
        go_on, let_go, waited = asyncio.Event(), threading.Event(), []

        @handler("parent")
        async def parent(context: Context) -> None:
            for _ in range(2):
                with pytest.raises(TaskClientError):
                    await context.client.wait(uuid4(), 0)
            waited.append("parent")
            await go_on.wait()  # each keeps its slot until all have waited

        @handler("sync.parent")
        def sync_parent(context: Context) -> None:
            with pytest.raises(TaskClientError):
                context.sync_client.wait(uuid4(), 0)
            waited.append("sync.parent")
            let_go.wait(10)

        bench = make(parent, sync_parent)
        with capture_logs() as logs:
            for type_ in ("parent", "sync.parent", "parent", "parent", "parent")[:tasks]:
                bench.start(type_)
            await until(lambda: len(waited) == tasks)
            go_on.set()
            let_go.set()
            assert await bench.executor.wait_done(10)
        return sorted((line["type"], line["queue"]) for line in logs if line["event"] == "handler_waits_for_task")

    async def test_it_is_told_once_for_a_type_where_no_slot_is_left_for_the_other_task(
        self, make: Make, until: Until
    ) -> None:
        assert await self.logged(make, until, 5) == [("parent", "default"), ("sync.parent", "default")]

    async def test_nothing_is_told_while_a_slot_is_free(self, make: Make, until: Until) -> None:
        assert await self.logged(make, until, 4) == []


class TestStopping:
    async def test_a_stopped_handler_is_released(self, make: Make, until: Until) -> None:
        began = asyncio.Event()

        @handler("t")
        async def run() -> None:
            began.set()
            await asyncio.Event().wait()

        for reason in (StopReason.CANCEL, StopReason.DRAIN, StopReason.LEASE_LOST, StopReason.NOT_HELD):
            bench = make(run)
            attempt = bench.start("t")
            await began.wait()
            began.clear()

            attempt.stop(reason)

            ending = await bench.ending()
            assert (ending.event, ending.error, ending.delay) == (Event.RELEASE, None, timedelta())

    async def test_a_success_after_a_cancel_request_counts(self, make: Make) -> None:
        began = asyncio.Event()

        @handler("t")
        async def run() -> str:
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "done already"
            return ""

        bench = make(run)
        attempt = bench.start("t")
        await began.wait()

        attempt.stop(StopReason.CANCEL)

        ending = await bench.ending()
        assert (ending.event, ending.result) == (Event.COMPLETE, '"done already"')

    @pytest.mark.parametrize("error", [ValueError, TaskCancelled, Fail])
    async def test_a_failure_after_a_stop_counts_as_the_stop(
        self, make: Make, until: Until, error: type[BaseException]
    ) -> None:
        @handler("t")
        def run(context: Context) -> None:
            while not context.is_stopped:
                time.sleep(0.001)
            raise Fail("no") if error is Fail else error

        bench = make(run)
        attempt = bench.start("t")

        attempt.stop(StopReason.CANCEL)

        assert (await bench.ending()).event is Event.RELEASE

    async def test_a_snooze_after_a_stop_is_kept(self, make: Make) -> None:
        @handler("t")
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise Snooze(after_seconds=60) from None

        bench = make(run)
        attempt = bench.start("t")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        attempt.stop(StopReason.DRAIN)

        ending = await bench.ending()
        assert ending.event is Event.SNOOZE

    async def test_raise_if_stopped_ends_a_thread(self, make: Make) -> None:
        @handler("t")
        def run(context: Context) -> None:
            while True:
                try:
                    context.raise_if_stopped()
                except Exception:  # noqa: BLE001 # what is tested
                    return
                time.sleep(0.001)

        bench = make(run)
        attempt = bench.start("t")

        attempt.stop(StopReason.CANCEL)

        assert (await bench.ending()).event is Event.RELEASE

    async def test_a_handler_that_swallows_its_cancellation_is_waited_for(self, make: Make, until: Until) -> None:
        swallowed, let_go = asyncio.Event(), asyncio.Event()

        @handler("t")
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
            await let_go.wait()
            raise ValueError

        bench = make(run)
        attempt = bench.start("t")
        await asyncio.sleep(0.01)
        attempt.stop(StopReason.CANCEL)
        await swallowed.wait()
        assert attempt.is_running
        assert not await bench.executor.wait_done(0.02)
        assert bench.endings == []

        let_go.set()

        assert (await bench.ending()).event is Event.RELEASE

    async def test_one_that_lost_its_lease_is_cancelled_again(self, make: Make) -> None:
        swallowed = asyncio.Event()

        @handler("t")
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.set()
            await asyncio.Event().wait()

        bench = make(run)
        attempt = bench.start("t")
        await asyncio.sleep(0.01)
        attempt.stop(StopReason.CANCEL)
        await swallowed.wait()

        attempt.stop(StopReason.LEASE_LOST)

        assert (await bench.ending()).event is Event.RELEASE

    @pytest.mark.parametrize("place", ["loop", "thread"])
    async def test_code_that_was_stopped_before_it_began_does_not_run(self, make: Make, place: str) -> None:
        ran = []

        async def on_loop() -> None:
            ran.append(1)

        def in_thread() -> None:
            ran.append(1)

        bench = make(handler("t")(on_loop if place == "loop" else in_thread))
        attempt = bench.start("t")
        attempt.stop(StopReason.DRAIN)

        ending = await bench.ending()

        assert (ending.event, ran) == (Event.RELEASE, [])

    async def test_an_answer_that_comes_after_the_lease_is_released_and_never_runs(self, make: Make) -> None:
        @handler("t")
        async def run() -> None:
            raise AssertionError

        bench = make(run)
        bench.lease.end()
        bench.start("t")

        assert (await bench.ending()).event is Event.RELEASE


class TestAttemptsInFlight:
    async def test_the_slot_is_free_before_the_end_is_recorded_and_the_attempt_is_in_flight_until_then(
        self, make: Make, until: Until
    ) -> None:
        @handler("t")
        async def run() -> None: ...

        bench = make(run)
        bench.may_record.clear()
        attempt = bench.start("t")
        await until(lambda: not attempt.is_running)

        assert (bench.slots.free, len(bench.in_flight), bench.in_flight.running()) == (5, 1, [])
        bench.may_record.set()
        await bench.ending()
        assert bench.in_flight.is_clear

    async def test_stop_all_asks_everybody_who_runs(self, make: Make) -> None:
        @handler("t")
        async def run() -> None:
            await asyncio.Event().wait()

        bench = make(run)
        for _ in range(3):
            bench.start("t")
        await asyncio.sleep(0)

        bench.in_flight.stop_all(StopReason.DRAIN)

        await bench.ending()
        assert [ending.event for ending in bench.endings] == [Event.RELEASE] * 3
