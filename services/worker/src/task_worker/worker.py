"""A worker: puts its parts together, runs them, and winds them down. It holds the order of things and no other logic.

**Invariants**

- Winding down: claim nothing more → put back what was delivered → let running tasks finish, with heartbeats going on →
  at the deadline stop them and release them → record → retire. A second request skips the waiting.
- Code that does not stop at the deadline ends the process; the sweep then brings its task back, uncounted.
- A worker that is recycled claims nothing more, and winds down when nothing runs.
- Only a stop that was asked for counts as draining. A worker that fails stops its code at once, records what has ended,
  and leaves the rest to the sweep, which counts a loss for each task: what takes its workers down comes to an end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from uuid import UUID

from task_bus import TaskBus
from task_bus.signals import Signals, send_changed
from task_contracts import Signal, SignalKind
from task_runtime import NO_METER, NO_TRACER, Batched, ExitCode, Meter, Supervisor, Tracer, get_logger
from task_runtime.observers import Observers
from task_store import (
    Activities,
    ActivityCounts,
    ActivityWriter,
    Attempts,
    Claims,
    Failures,
    Offer,
    StoreError,
    WorkerProcess,
    Workers,
)
from task_worker import exits
from task_worker.attempt.executor import AttemptServices, Executor, RunDefaults
from task_worker.attempt.recorder import Recorder
from task_worker.attempt.runners.child_messages import ChildSetup
from task_worker.attempt.runners.process_pool import PoolLimits, ProcessPool
from task_worker.claim.claim_loop import ClaimLoop
from task_worker.claim.claimer import Claimer
from task_worker.claim.own_tasks import OwnTasks
from task_worker.claim.prefetch_buffer import PrefetchBuffer
from task_worker.claim.slots import Slots
from task_worker.claim.whole_scan import WholeScan
from task_worker.connections import WorkerDatabases
from task_worker.failure_counts import FailureCounts
from task_worker.handlers import ExecutionMode, Handler
from task_worker.leader.leader import Leader
from task_worker.lease.alive_file import AliveFile
from task_worker.lease.heartbeat import Heartbeat
from task_worker.lease.in_flight import InFlight, StopReason
from task_worker.lease.lease import Lease
from task_worker.lease.stopping import LeaseCallbacks
from task_worker.loop_watch import LoopWatch
from task_worker.offers import OfferRefresher
from task_worker.own_process import this_process
from task_worker.settings import WorkerSettings
from task_worker.timings import WorkerTimings
from task_worker.waiting import wait_for_first
from task_worker.wake_ups import WakeUps
from task_worker.worker_state import PresentState

_log = get_logger(__name__)
_TYPES_SHOWN = 5


class Worker:
    """One worker, from `run` until it is asked to stop.

    Args:
        settings: of this worker.
        handlers: by type.
        bus, signals: open as long as it runs.
        end_process: ends the process with an exit code where code cannot be stopped and must not go on. If it returns,
            the worker waits for that code.
        end_soon: called with an exit code once no code runs any more, so that leaving takes a bounded time.
        timings: the times that are not settings.
        meter: counts what this worker does.
        tracer: traces its attempts.

    """

    def __init__(
        self,
        settings: WorkerSettings,
        handlers: Mapping[str, Handler],
        bus: TaskBus,
        signals: Signals,
        *,
        end_process: Callable[[int], None] = exits.end_process,
        end_soon: Callable[[int], None] = lambda _: None,
        timings: WorkerTimings | None = None,
        meter: Meter = NO_METER,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._settings = settings
        self._signals = signals
        self._end_process = end_process
        self._end_soon = end_soon
        self._timings = timings or WorkerTimings()
        counts = ActivityCounts()
        self._meter = meter
        self._tracer = tracer
        self._observer = Observers([counts, meter])
        self._databases = WorkerDatabases(
            settings, self._timings, on_changed=partial(send_changed, signals), on_happened=self._observer.tell
        )
        self._workers = Workers(self._databases.pool)
        self._activity = ActivityWriter(Activities(self._databases.pool), counts)
        self._wake_ups = WakeUps(signals, settings.serves[0])
        self._lease = Lease(settings.lease_seconds)
        self._is_drain_known = False
        self._in_flight = InFlight(claim_seconds=2 * self._timings.statement_seconds)

        offer = Offer(settings.serves, {name: handler.payload_schema() for name, handler in handlers.items()})
        databases, process = self._databases, this_process(settings.concurrency)
        claims = Claims(databases.pool, databases.poll, databases.slow, offer, settings.priority_weights)
        attempts = Attempts(databases.pool, process, on_recorded=partial(meter.batch, Batched.RECORD))
        self._failure_counts = FailureCounts(Failures(databases.pool))
        recorder = Recorder(
            attempts,
            self._timings.record,
            on_waiting=self._wake_ups.task_due,
            on_failure=self._failure_counts.count,
            meter=meter,
        )
        slots = Slots(settings.concurrency, settings.max_payload_mb << 20)
        buffer = PrefetchBuffer(bus, settings.serves, settings.priority_weights, settings.concurrency)
        self._processes = self._make_processes()
        self._executor = self._make_executor(handlers, recorder, slots)
        self._claim_loop = self._make_claim_loop(claims, buffer, slots)
        self._heartbeat = self._make_heartbeat(offer, process)
        self._loop_watch = LoopWatch()
        self._leader = Leader(
            settings,
            bus,
            signals,
            self._databases,
            self._lease,
            self._timings.dispatch,
            meter,
            on_failure=self._failure_counts.count,
            take=OwnTasks(buffer, slots, settings.serves).take,
        )
        meter.offer("worker", handlers)
        meter.watch(PresentState(slots, self._lease, self._leader, lambda: bus.is_connected))
        self._loops = {
            "claims": self._claim_loop.run,
            "whole_scan": WholeScan(claims, buffer, slots, self._timings.claim.poll.overdue).run,
            "progress": recorder.write_progress,
            "failure_counts": self._failure_counts.run,
            "offers": OfferRefresher(self._workers, offer).run,
            "activity": self._activity.run,
            **self._leader.loops(),
        }
        self._needs_processes = any(handler.mode is ExecutionMode.PROCESS for handler in handlers.values())

    @property
    def attempts_ended(self) -> int:
        """How many attempts of this worker have come to the end of their code."""
        return self._executor.attempts_ended

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event, recycle: asyncio.Event | None = None) -> None:
        """Work until `stop` is set, then wind down; `hurry` ends the waiting for running tasks.

        Once `recycle` is set it claims nothing more, and winds down when nothing runs.

        Raises:
            LoopKeepsDyingError: a part of this worker died too often. Other workers bring back what it holds, and
                count a loss for each task.

        """
        supervisor = Supervisor(self._timings.restarts)
        listening = await self._signals.listen({SignalKind.CANCEL}, self._on_cancel_signal)
        self._heartbeat.start()
        self._loop_watch.start()
        if self._needs_processes:
            self._processes.keep_ready()
        for name, loop in self._loops.items():
            supervisor.start(name, loop, forever=name != "claims")
        is_failing = True
        try:
            await wait_for_first(stop.wait(), supervisor.wait(), self._wait_recycled(recycle or asyncio.Event()))
            is_failing = False
        finally:
            is_failing = is_failing and not stop.is_set()
            await (self._fail() if is_failing else self._drain(hurry))
            self._end_soon(ExitCode.FAILED if is_failing else ExitCode.OK)
            try:
                async with asyncio.timeout(self._timings.leave_seconds):
                    await listening.cancel()
                    await supervisor.aclose()
                    await self._leave(is_asked=not is_failing)
            except TimeoutError:  # the lease ends by itself, and the connections with the process
                _log.warning("farewell_missed", reason="it took too long")

    async def _wait_recycled(self, recycle: asyncio.Event) -> None:
        """Once `recycle` is set claim nothing more, and wait until nothing runs.

        What runs has its own time limit, and counts as lost if it takes the worker down: it may be why it is recycled.
        """
        await recycle.wait()
        await self._claim_loop.stop(self._timings.attempt.stop_seconds)
        await self._executor.wait_done(None)

    async def _drain(self, hurry: asyncio.Event) -> None:
        seconds = self._settings.drain_seconds
        running = self._in_flight.running()
        waits = {"waits_for": _in_words(attempt.claim.type for attempt in running)} if running else {}
        _log.info("drain_began", running=len(running), seconds=seconds, **waits)
        self._processes.drain()
        stopping = self._claim_loop.stop(self._timings.attempt.stop_seconds)
        _, self._is_drain_known = await asyncio.gather(stopping, self._tell_database(self._workers.drain))
        await wait_for_first(self._executor.wait_done(seconds), hurry.wait())
        await self._stop_code(StopReason.DRAIN, exits.LEASE_LOST)
        _log.info("drain_ended", unrecorded=len(self._in_flight))

    async def _fail(self) -> None:
        """Stop as a drain does, but at once, and without the word that it was asked for."""
        _log.error("worker_fails", running=len(self._in_flight.running()))
        self._processes.drain()  # what waits for a process has not begun, and counts no loss
        await self._claim_loop.stop(self._timings.attempt.stop_seconds)
        await self._stop_code(StopReason.WORKER_FAILED, ExitCode.FAILED)

    async def _stop_code(self, reason: StopReason, exit_code: int) -> None:
        """Stop what runs and wait until it is recorded; end the process with `exit_code` if it does not stop."""
        stop_seconds = self._timings.attempt.stop_seconds
        self._in_flight.stop_all(reason)
        await self._executor.wait_done(stop_seconds)
        while running := self._in_flight.running():
            _log.error("unstoppable_code", tasks=[str(attempt.claim.id) for attempt in running])
            self._end_process(exit_code)
            await self._executor.wait_done(stop_seconds)

    async def _leave(self, *, is_asked: bool) -> None:
        await self._heartbeat.stop()
        self._loop_watch.stop()
        await self._failure_counts.flush()
        if is_asked and not self._is_drain_known:
            await self._tell_database(self._workers.drain)
        await self._activity.write()
        await self._tell_database(self._workers.retire)
        self._wake_ups.offers_changed()
        self._executor.close()
        await self._processes.aclose()
        await self._databases.aclose()

    async def _tell_database(self, statement: Callable[[UUID], Awaitable[None]]) -> bool:
        if self._lease.worker_id is None:
            return True  # there is no row
        try:
            await statement(self._lease.worker_id)
        except StoreError as error:
            _log.warning("farewell_missed", reason=str(error))
            return False
        return True

    def _on_registered(self) -> None:
        self._leader.elect_now()
        self._wake_ups.offers_changed()

    def _on_cancel_signal(self, signal: Signal) -> None:
        self._heartbeat.cancel_requested(signal.ids)

    def _make_processes(self) -> ProcessPool:
        settings = self._settings
        return ProcessPool(
            ChildSetup(settings.handlers, settings.log_level, settings.log_format),
            PoolLimits(settings.handler_processes, settings.tasks_per_handler_process),
            self._timings.attempt,
        )

    def _make_executor(self, handlers: Mapping[str, Handler], recorder: Recorder, slots: Slots) -> Executor:
        settings = self._settings
        return Executor(
            handlers,
            RunDefaults(
                settings.timeout_seconds,
                settings.max_attempts,
                settings.api_url,
                settings.api_key,
                logs_all=settings.log_tasks == "all",
            ),
            AttemptServices(
                record=recorder.record,
                release=recorder.release,
                report=recorder.report,
                write_checkpoint=recorder.write_checkpoint,
                processes=self._processes,
                observer=self._observer,
                meter=self._meter,
                tracer=self._tracer,
                timings=self._timings.attempt,
            ),
            in_flight=self._in_flight,
            slots=slots,
            lease=self._lease,
        )

    def _make_claim_loop(self, claims: Claims, buffer: PrefetchBuffer, slots: Slots) -> ClaimLoop:
        claimer = Claimer(
            claims,
            in_flight=self._in_flight,
            slots=slots,
            lease=self._lease,
            start=self._executor.start,
            release=self._executor.release,
            meter=self._meter,
        )
        return ClaimLoop(claimer, buffer, slots, self._lease, self._timings.claim, self._meter)

    def _make_heartbeat(self, offer: Offer, process: WorkerProcess) -> Heartbeat:
        callbacks = LeaseCallbacks(
            self._in_flight,
            AliveFile(self._settings.alive_file, self._settings.lease_seconds),
            on_registered=self._on_registered,
            release=self._executor.release,
        )
        return Heartbeat(
            self._databases.open_heartbeat,
            offer,
            callbacks,
            process=process,
            in_flight=self._in_flight,
            lease=self._lease,
            end_process=self._end_process,
        )


def _in_words(types: Iterable[str]) -> str:
    """Say how many tasks of which types there are: `3 of report.build, 1 of echo`."""
    counted = Counter(types).most_common()
    shown = ", ".join(f"{count} of {type_}" for type_, count in counted[:_TYPES_SHOWN])
    return shown + (", and others" if len(counted) > _TYPES_SHOWN else "")
