"""The heartbeat: renews this worker's lease and reconciles what it holds, from a thread of its own.

**Invariants**

- It has its own thread, event loop and connection: neither a busy loop nor a busy pool can starve it.
- The renewal commits alone; reconciling is a second statement.
- It renews six times a lease. After a beat that failed the next comes after a thirtieth of the lease: one lost
  connection must not cost a good part of the time after which code is stopped.
- If the lease was not renewed in time, code is asked to stop a sixth of a lease before its end; code that still runs
  at its end ends the process (exit code 75). If another worker has declared this one dead, code is asked to stop at
  once. A process whose event loop hangs for longer than any of its handlers may run, plus a lease, ends too (70).
- It decides nothing about attempts: it calls the event loop (`LeaseCallbacks`), which does.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

from task_runtime import get_logger
from task_store import Database, HeldRow, Offer, ScanPace, StoreError, WorkerProcess, Workers, new_worker_id
from task_worker.exits import HUNG, LEASE_LOST
from task_worker.lease.alive_file import TOUCHES_A_LEASE
from task_worker.lease.in_flight import InFlight
from task_worker.lease.lease import Lease
from task_worker.lease.stopping import LeaseCallbacks
from task_worker.waiting import wait_for_event

_log = get_logger(__name__)

_BEATS_A_LEASE = 6
_TRIES_A_LEASE = 30
"""How often it beats while beats fail."""
_STOP_SECONDS = 2.0


class Heartbeat:
    """Runs from `start` to `stop`.

    Args:
        open_database: opens the heartbeat's connection; called in its own thread.
        offer: what this worker serves.
        process: where it runs, for those who look at workers.
        callbacks: what the event loop does; called there.
        in_flight, lease: of this worker.
        end_process: ends the process with an exit code.

    """

    def __init__(
        self,
        open_database: Callable[[], Database],
        offer: Offer,
        callbacks: LeaseCallbacks,
        *,
        process: WorkerProcess,
        in_flight: InFlight,
        lease: Lease,
        end_process: Callable[[int], None],
    ) -> None:
        self._open_database = open_database
        self._offer = offer
        self._process = process
        self._callbacks = callbacks
        self._in_flight = in_flight
        self._lease = lease
        self._end_process = end_process
        self._loop = asyncio.get_running_loop()
        self._unanswered = 0
        self._pace = ScanPace()
        self._is_stopping = False
        self._ended = asyncio.Event()
        self._wake: Callable[[], object] | None = None
        self._over_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register this worker as soon as the database answers, and renew its lease from then on."""
        self._thread.start()

    def renew_now(self) -> None:
        """Renew and reconcile at once rather than at the next beat."""
        if (wake := self._wake) is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has just ended
                wake()

    def cancel_requested(self, task_ids: Collection[UUID]) -> None:
        """Reconcile at once if one of these tasks, whose cancel was requested, is or may be in flight here."""
        if self._in_flight.is_claiming or any(task_id in self._in_flight for task_id in task_ids):
            self.renew_now()

    async def stop(self) -> None:
        """End, within two seconds; the lease goes on until its time.

        A beat that the database does not answer is not waited for: what it would still write changes nothing.
        """
        self._is_stopping = True
        self.renew_now()
        await wait_for_event(self._ended, _STOP_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except Exception:  # noqa: BLE001 # the thread's outermost frame: a worker without a heartbeat must end
            _log.exception("heartbeat_died")
            self._end_process(HUNG)
        finally:
            self._call(self._ended.set)

    async def _live(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        database = self._open_database()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            workers = Workers(database)
            while not self._is_stopping:
                await wait_for_event(woken, await self._beat(workers))
                woken.clear()
            watch.cancel()
        self._wake = None
        with contextlib.suppress(StoreError):  # leaving anyway
            await database.aclose()

    async def _beat(self, workers: Workers) -> float:
        """Renew and reconcile, or register; return after how many seconds to do so again."""
        worker_id, tries = self._lease.worker_id, _TRIES_A_LEASE
        try:
            if worker_id is None:
                await self._register(workers)
            elif await self._renew(workers, worker_id):
                await self._reconcile(workers, worker_id)
            tries = _TRIES_A_LEASE if self._lease.worker_id is None else _BEATS_A_LEASE
        except StoreError as error:
            _log.warning("heartbeat_missed", reason=str(error))
        return self._lease.seconds / tries

    async def _register(self, workers: Workers) -> None:
        if not self._in_flight.is_clear:
            return  # what was in flight under the old id has yet to stop, and its last claim to be answered
        worker_id, sent_at = new_worker_id(), time.monotonic()
        await workers.register(worker_id, self._offer, self._lease.duration, self._process)
        self._lease.begin(worker_id, sent_at)
        _log.info("worker_registered", worker_id=str(worker_id))
        self._call(self._callbacks.registered)

    async def _renew(self, workers: Workers, worker_id: UUID) -> bool:
        """Renew the lease; return False if this worker was declared dead."""
        sent_at = time.monotonic()
        if await workers.renew(worker_id, self._lease.duration, in_flight=len(self._in_flight)):
            self._lease.renewed(sent_at)
            return True
        _log.error("worker_found_dead", worker_id=str(worker_id))
        self._lease.end()
        self._call(self._callbacks.found_dead)
        return False

    async def _reconcile(self, workers: Workers, worker_id: UUID) -> None:
        """Compare what is in flight with the rows of this worker.

        All of them are read: after a failover that lost commits it may hold one that it does not know of. That walks
        the dead entries that an old snapshot keeps in the index. Where it is slow, it is done now and then, after a
        look at just those rows that this worker knows of.
        """
        if not self._pace.is_cheap:
            await self._compare(lambda ids: workers.held_among(worker_id, ids))
        if self._pace.is_due:
            with self._pace.measured():
                await self._compare(lambda _: workers.held_rows(worker_id))

    async def _compare(self, read: Callable[[list[UUID]], Awaitable[list[HeldRow]]]) -> None:
        asked_at, before = time.monotonic(), self._in_flight.attempts()
        rows = await read([*(attempt.claim.id for attempt in before), *self._in_flight.unknown_ids()])
        self._call(lambda: self._callbacks.reconcile(asked_at, before, rows))

    async def _watch(self) -> None:
        """Check the lease and the event loop thirty times a lease, even where a beat is stuck."""
        while True:
            self._unanswered += 1
            self._call(self._note_answer)
            self._check_lease()
            self._check_event_loop()
            await asyncio.sleep(self._lease.seconds / TOUCHES_A_LEASE)

    def _check_lease(self) -> None:
        running = self._in_flight.running()
        if not running or not self._lease.is_over:
            self._over_since = None
        elif self._over_since is None:
            self._over_since = time.monotonic()
            _log.error("lease_over", running=len(running))
            self._call(self._callbacks.lease_over)
        elif time.monotonic() - self._over_since >= self._lease.spare_seconds:
            self._over_since = math.inf  # once, where that does not end the process
            _log.critical("unstoppable_code", tasks=[str(attempt.claim.id) for attempt in running])
            self._end_process(LEASE_LOST)

    def _check_event_loop(self) -> None:
        longest = max((attempt.timeout_seconds for attempt in self._in_flight.running()), default=0.0)
        # Counted in checks, not by the clock: a process that was frozen as a whole has not hung.
        silent_seconds = self._unanswered * self._lease.seconds / TOUCHES_A_LEASE
        if silent_seconds > longest + self._lease.seconds:
            _log.critical("event_loop_hangs", silent_seconds=round(silent_seconds))
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
            self._end_process(HUNG)

    def _note_answer(self) -> None:
        self._unanswered = 0
        self._callbacks.answered()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return  # the event loop is closed: the process is ending
