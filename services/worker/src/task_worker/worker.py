"""A worker: puts its parts together, runs them, and winds them down. No logic of its own beyond the order of things.

**Invariants**

- Winding down: claim nothing more → give back what was delivered → let running tasks finish, with heartbeats going on →
  at the deadline stop them and release them → record → retire. A second request skips the waiting.
- Code that does not stop at the deadline ends the process; the sweep then brings its task back, uncounted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from task_bus import TaskBus
from task_bus.signals import Signals
from task_contracts import Signal, SignalKind
from task_runtime import Supervisor
from task_store import AttemptKey, Attempts, Database, Dispatches, HeldRow, Offer, StoreError, Workers
from task_worker.attempt.executor import AttemptServices, Executor, RunDefaults
from task_worker.attempt.recorder import Recorder
from task_worker.attempt.runners.child_process import GRACE_SECONDS, ChildSetup
from task_worker.claim.claims import Claims
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots
from task_worker.handlers import Handler
from task_worker.leader.dispatch import Dispatch
from task_worker.leader.ears import Ears
from task_worker.leader.election import LeaderElection, Leadership
from task_worker.leader.purge import Purge
from task_worker.leader.reject import Reject
from task_worker.leader.sweep import Sweep
from task_worker.lease.alive_file import AliveFile
from task_worker.lease.heartbeat import LEASE_LOST, Heartbeat, LeaseCallbacks
from task_worker.lease.in_flight import Attempt, InFlight, StopReason
from task_worker.lease.lease import Lease
from task_worker.offers import OfferRefresher
from task_worker.settings import WorkerSettings

_log = structlog.get_logger(__name__)

_POOL_SIZE = 4
CONNECTIONS = _POOL_SIZE + 2
"""How many connections to the database a worker opens, at most: the net and the heartbeat have one each."""
_STATEMENT_SECONDS = 3.0
_NET_SECONDS = 0.25
_STOPPING_SECONDS = GRACE_SECONDS + 2.0


def end_process(code: int) -> None:
    """End this process at once, writing nothing about its tasks: the sweep sees to them."""
    sys.stderr.flush()
    os._exit(code)


class Worker:
    """One worker, from `run` until it is asked to stop.

    Args:
        settings: what it is told.
        handlers: what it runs, by type.
        bus, signals: started, and closed, by whoever made them.
        end_process: ends the process with an exit code where code cannot be stopped and must not go on. One that
            returns makes the worker wait for that code.

    """

    def __init__(
        self,
        settings: WorkerSettings,
        handlers: Mapping[str, Handler],
        bus: TaskBus,
        signals: Signals,
        *,
        end_process: Callable[[int], None] = end_process,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._signals = signals
        self._end_process = end_process
        offer = Offer(settings.serves, {name: handler.payload_schema() for name, handler in handlers.items()})
        self._database = self._open("task-worker", _POOL_SIZE, _STATEMENT_SECONDS)
        self._net = self._open("task-worker-poll", 1, _STATEMENT_SECONDS, statement_timeout_seconds=_NET_SECONDS)
        self._attempts = Attempts(self._database, self._net, offer)
        self._workers = Workers(self._database)

        self._in_flight = InFlight(claim_seconds=2 * _STATEMENT_SECONDS)
        self._lease = Lease(settings.lease_seconds)
        slots = Slots(settings.concurrency)
        self._recorder = Recorder(self._attempts, ring=self._ring)
        self._executor = Executor(
            handlers,
            RunDefaults(settings.timeout_seconds, settings.max_attempts, settings.api_url),
            AttemptServices(
                self._recorder.record,
                self._recorder.report,
                ChildSetup(settings.handlers, settings.log_level, settings.log_format),
            ),
            in_flight=self._in_flight,
            slots=slots,
            lease=self._lease,
        )
        self._claims = Claims(
            self._attempts,
            PrefetchBuffer(bus, settings.serves, settings.priority_weights, settings.concurrency),
            self._executor.start,
            self._give_back,
            in_flight=self._in_flight,
            slots=slots,
            lease=self._lease,
            weights=settings.priority_weights,
            reaches_broker=self._reaches_broker,
        )
        self._heartbeat = Heartbeat(
            lambda: self._open("task-worker-heartbeat", 1, settings.lease_seconds / 6),
            offer,
            LeaseCallbacks(
                AliveFile(settings.alive_file, settings.lease_seconds).touch,
                self._on_registered,
                self._on_read_back,
                self._on_lease_over,
                self._on_found_dead,
            ),
            in_flight=self._in_flight,
            lease=self._lease,
            end_process=end_process,
        )
        leadership = Leadership()
        self._dispatch = Dispatch(
            bus,
            Dispatches(self._database),
            self._workers,
            leadership,
            settings.queues,
            settings.priority_weights,
        )
        self._election = LeaderElection(self._workers, self._lease, leadership, self._reaches_broker)
        retention = timedelta(days=settings.retention_days) if settings.retention_days else None
        self._loops = {
            "claims": self._claims.run,
            "progress": self._recorder.write_progress,
            "tick": self._election.run,
            "offer": OfferRefresher(self._workers, offer).run,
            "ears": Ears(signals, self._dispatch, leadership).run,
            "dispatch": self._dispatch.run,
            "sweep": Sweep(self._workers, self._lease, leadership).run,
            "reject": Reject(self._workers, self._lease, leadership).run,
            "purge": Purge(self._workers, leadership, retention).run,
        }

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Work until `stop` is set, then wind down; `hurry` ends the waiting for running tasks.

        Raises:
            LoopKeepsDyingError: a part of this worker died too often. What it holds is brought back by others.

        """
        supervisor = Supervisor()
        listening = await self._signals.listen({SignalKind.CANCEL}, self._on_cancel_signal)
        self._heartbeat.start()
        for name, loop in self._loops.items():
            supervisor.start(name, loop, forever=name != "claims")
        seconds = 0.0  # where a part of this worker is dead, nothing is waited for
        try:
            await _first_of(stop.wait(), supervisor.wait())
            seconds = self._settings.drain_seconds
        finally:
            await self._drain(seconds, hurry)
            await listening.cancel()
            await supervisor.aclose()
            await self._leave()

    async def _drain(self, seconds: float, hurry: asyncio.Event) -> None:
        _log.info("drain_began", running=len(self._in_flight.running()), seconds=seconds)
        await asyncio.gather(self._claims.stop(_STOPPING_SECONDS), self._tell_the_database(self._workers.drain))
        await _first_of(self._executor.wait_done(seconds), hurry.wait())
        self._executor.stop_all(StopReason.DRAIN)
        await self._executor.wait_done(_STOPPING_SECONDS)
        while running := self._in_flight.running():
            _log.error("unstoppable_code", tasks=[str(attempt.claim.id) for attempt in running])
            self._end_process(LEASE_LOST)
            await self._executor.wait_done(_STOPPING_SECONDS)
        _log.info("drain_ended", unrecorded=len(self._in_flight))

    async def _leave(self) -> None:
        await self._heartbeat.stop()
        await self._tell_the_database(self._workers.retire)
        self._signals.send(Signal(kind=SignalKind.DUE))
        self._executor.close()
        await asyncio.gather(self._database.aclose(), self._net.aclose(), return_exceptions=True)

    async def _tell_the_database(self, statement: Callable[[UUID], Awaitable[None]]) -> None:
        if self._lease.worker_id is None:
            return
        try:
            await statement(self._lease.worker_id)
        except StoreError as error:
            _log.warning("farewell_missed", reason=str(error))

    def _on_registered(self) -> None:
        self._election.poke()
        self._signals.send(Signal(kind=SignalKind.DUE))

    def _on_read_back(self, asked_at: float, before: list[Attempt], rows: list[HeldRow]) -> None:
        differences = self._in_flight.compare(asked_at, before, rows)
        for attempt in differences.not_held:
            attempt.stop(StopReason.NOT_HELD)
        for attempt in differences.cancelled:
            attempt.stop(StopReason.CANCEL)
        for row in differences.unknown:
            self._give_back(row)

    def _give_back(self, key: AttemptKey) -> None:
        self._executor.spawn(self._recorder.release(key))

    def _on_lease_over(self) -> None:
        self._executor.stop_all(StopReason.LEASE_LOST)

    def _on_found_dead(self) -> None:
        for attempt in self._in_flight.attempts():
            attempt.is_dropped = True
        self._executor.stop_all(StopReason.LEASE_LOST)

    def _on_cancel_signal(self, signal: Signal) -> None:
        if self._in_flight.is_claiming or any(task_id in self._in_flight for task_id in signal.ids):
            self._heartbeat.poke()

    def _ring(self) -> None:
        self._signals.send(Signal(kind=SignalKind.DUE, queue=self._settings.serves[0]))

    def _reaches_broker(self) -> bool:
        return self._bus.is_connected

    def _open(
        self, name: str, pool_size: int, deadline_seconds: float, *, statement_timeout_seconds: float | None = None
    ) -> Database:
        return Database(
            self._settings.database_url.get_secret_value(),
            pool_size=pool_size,
            deadline_seconds=deadline_seconds,
            statement_timeout_seconds=statement_timeout_seconds,
            application_name=name,
        )


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when the first of these coroutines has ended, and raise what it raised; cancel the others."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
