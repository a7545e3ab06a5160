from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import uuid4

import pytest

from task_store import Claim, DatabaseUnavailableError, HeldRow, Offer, ScanPace, WorkerProcess
from task_worker.exits import HUNG, LEASE_LOST
from task_worker.lease.alive_file import AliveFile
from task_worker.lease.heartbeat import Heartbeat
from task_worker.lease.in_flight import Attempt, InFlight, StopReason
from task_worker.lease.lease import Lease
from task_worker.lease.stopping import LeaseCallbacks

Until = Callable[..., Awaitable[Any]]


def nothing(*_: object, **__: object) -> None:
    pass


class Bench:
    """A heartbeat whose checks the test runs itself, in place of its thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.in_flight = InFlight(claim_seconds=6)
        self.lease = Lease(30, lambda: self.now)
        self.ended: list[int] = []
        self.heartbeat = Heartbeat(
            self._open,
            Offer(("default",), {}),
            LeaseCallbacks(self.in_flight, AliveFile(None, 30), on_registered=nothing, release=nothing),
            process=WorkerProcess(),
            in_flight=self.in_flight,
            lease=self.lease,
            end_process=self.ended.append,
        )

    def check(self) -> None:
        self.heartbeat._unanswered += 1
        self.heartbeat._check_lease()
        self.heartbeat._check_event_loop()

    def _open(self) -> NoReturn:
        raise AssertionError


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench()
    monkeypatch.setattr("task_worker.lease.heartbeat.time", SimpleNamespace(monotonic=lambda: bench.now))
    monkeypatch.setattr("faulthandler.dump_traceback", nothing)
    bench.lease.begin(uuid4(), bench.now)
    return bench


async def test_code_is_stopped_a_sixth_of_the_lease_early_and_what_goes_on_ends_the_process(
    bench: Bench, a_claim: Callable[..., Claim], until: Until
) -> None:
    attempt = Attempt(a_claim(), 60, 3)
    bench.in_flight.take(attempt)
    bench.now += 24.9
    bench.heartbeat._check_lease()
    bench.now += 0.1
    bench.heartbeat._check_lease()
    bench.now += 4.9
    bench.heartbeat._check_lease()
    assert bench.ended == []

    bench.now += 0.1
    bench.heartbeat._check_lease()
    bench.heartbeat._check_lease()

    assert bench.ended == [LEASE_LOST]
    await until(lambda: attempt.stop_reason is StopReason.LEASE_LOST)


async def test_code_that_has_stopped_in_time_ends_nothing(bench: Bench, a_claim: Callable[..., Claim]) -> None:
    attempt = Attempt(a_claim(), 60, 3)
    bench.in_flight.take(attempt)
    bench.now += 25
    bench.heartbeat._check_lease()
    attempt.is_running = False
    bench.now += 100
    bench.heartbeat._check_lease()

    assert bench.ended == []


async def test_an_event_loop_that_hangs_longer_than_its_longest_handler_may_run_ends_the_process(
    bench: Bench, a_claim: Callable[..., Claim]
) -> None:
    bench.in_flight.take(Attempt(a_claim(), 60, 3))
    bench.in_flight.take(Attempt(a_claim(), 5, 3))
    for _ in range(90):  # one check a second
        bench.lease.renewed(bench.now)
        bench.check()
    assert bench.ended == []

    bench.check()

    assert bench.ended == [HUNG]


async def test_an_answer_begins_the_count_anew(bench: Bench) -> None:
    for _ in range(30):
        bench.check()
    bench.heartbeat._note_answer()
    bench.check()

    assert bench.ended == []


async def test_a_process_that_was_frozen_as_a_whole_has_not_hung(bench: Bench) -> None:
    bench.check()
    bench.now += 3600
    bench.check()

    assert bench.ended == []


async def test_renewing_at_once_is_harmless_before_it_begins_and_after_it_ended(bench: Bench) -> None:
    bench.heartbeat.renew_now()

    def closed() -> None:
        raise RuntimeError("Event loop is closed")

    bench.heartbeat._wake = closed
    bench.heartbeat.renew_now()


class FakeWorkers:
    """Notes which of the two questions the heartbeat asks; the one for all rows takes `seconds`."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.seconds = 0.0
        self.asked: list[str] = []
        bench.heartbeat._pace = ScanPace(clock=lambda: bench.now)

    async def held_rows(self, _: object) -> list[HeldRow]:
        self.asked.append("all")
        self.bench.now += self.seconds
        return []

    async def held_among(self, _: object, ids: list[object]) -> list[HeldRow]:
        self.asked.append(f"{len(ids)} ids")
        return []


async def test_all_rows_are_read_at_each_beat_while_that_is_cheap(bench: Bench) -> None:
    workers = FakeWorkers(bench)

    for _ in range(3):
        await bench.heartbeat._reconcile(workers, uuid4())  # type: ignore[arg-type] # the two calls that are used

    assert workers.asked == ["all"] * 3


async def test_where_reading_all_rows_is_slow_only_its_own_tasks_are_asked_for_in_between(
    bench: Bench, a_claim: Callable[..., Claim]
) -> None:
    workers = FakeWorkers(bench)
    workers.seconds = 1.0
    bench.in_flight.take(Attempt(a_claim(), 60, 3))

    for _ in range(6):
        await bench.heartbeat._reconcile(workers, uuid4())  # type: ignore[arg-type] # as above
        bench.now += 5

    assert workers.asked == ["all", "1 ids", "1 ids", "1 ids", "1 ids", "all", "1 ids"]


async def test_the_ids_of_a_claim_without_an_answer_are_asked_for_where_reading_all_rows_is_slow(bench: Bench) -> None:
    workers = FakeWorkers(bench)
    workers.seconds = 1.0
    await bench.heartbeat._reconcile(workers, uuid4())  # type: ignore[arg-type] # as above
    bench.in_flight.claim_begins(token := uuid4())
    bench.in_flight.claim_unanswered(token, [uuid4(), uuid4()])

    await bench.heartbeat._reconcile(workers, uuid4())  # type: ignore[arg-type] # as above

    assert workers.asked == ["all", "2 ids"]


class Renewals:
    """Renews with the answers in `answers`: an error to raise, or whether the worker is alive."""

    def __init__(self, *answers: Exception | bool) -> None:
        self.answers = list(answers)

    async def renew(self, *_: object, in_flight: int) -> bool:
        assert in_flight == 0
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def held_rows(self, _: object) -> list[HeldRow]:
        return []


async def test_after_a_missed_renewal_the_next_comes_after_a_thirtieth_of_the_lease_else_after_a_sixth(
    bench: Bench,
) -> None:
    workers = Renewals(DatabaseUnavailableError("gone"), True, False)

    pauses = [await bench.heartbeat._beat(workers) for _ in range(3)]  # type: ignore[arg-type] # the calls that are used

    assert pauses == [1.0, 5.0, 1.0]
