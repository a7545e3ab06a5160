"""The heartbeat: renews this worker's lease and reads back what it holds, from a thread of its own.

**Invariants**

- Its own thread, event loop and connection: neither a busy loop nor a busy pool can starve it.
- The renewal commits alone; the read-back is a second statement.
- Code that must not go on is asked to stop a sixth of a lease early; what has not stopped after that sixth ends the
  process. A process whose event loop hangs for longer than any of its handlers may run, and a lease, ends too.
- It decides nothing about attempts itself: it calls the event loop, which does.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from task_store import Database, HeldRow, Offer, StoreError, Workers, new_worker_id
from task_worker.lease.alive_file import TOUCHES_A_LEASE
from task_worker.lease.in_flight import Attempt, InFlight
from task_worker.lease.lease import Lease
from task_worker.waiting import wait_for_event

_log = structlog.get_logger(__name__)

HUNG = 70
"""Exit code of a process whose event loop no longer answers (EX_SOFTWARE of sysexits.h)."""
LEASE_LOST = 75
"""Exit code of a process that held code which could not be stopped when its lease was over (EX_TEMPFAIL)."""
_BEATS_A_LEASE = 6


@dataclass(frozen=True)
class LeaseCallbacks:
    """What the heartbeat calls, always on the event loop.

    `answered`: the event loop answers, thirty times a lease. `registered`: this worker has a lease, under a new id.
    `read_back`: the database says what this worker holds: the time when it was asked, the attempts in hand then, and
    its rows. `lease_over`: the lease was not renewed in time; stop everything. `found_dead`: this worker was declared
    dead; stop everything, and owe nothing.
    """

    answered: Callable[[], None]
    registered: Callable[[], None]
    read_back: Callable[[float, list[Attempt], list[HeldRow]], None]
    lease_over: Callable[[], None]
    found_dead: Callable[[], None]


class Heartbeat:
    """Runs from `start` to `stop`."""

    def __init__(
        self,
        database: Callable[[], Database],
        offer: Offer,
        callbacks: LeaseCallbacks,
        *,
        in_flight: InFlight,
        lease: Lease,
        end_process: Callable[[int], None],
    ) -> None:
        """`database` opens the connection, in the heartbeat's own thread; `end_process` ends us with an exit code."""
        self._open = database
        self._offer = offer
        self._callbacks = callbacks
        self._in_flight = in_flight
        self._lease = lease
        self._end_process = end_process
        self._loop = asyncio.get_running_loop()
        self._unanswered = 0
        self._is_stopping = False
        self._poked: Callable[[], object] | None = None
        self._over_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin: register this worker, as soon as the database answers, and renew its lease from then on."""
        self._thread.start()

    def poke(self) -> None:
        """Read back at once rather than at the next beat: somebody says that a cancel was requested."""
        if (poked := self._poked) is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has just ended
                poked()

    async def stop(self) -> None:
        """End; the lease runs on."""
        self._is_stopping = True
        self.poke()
        await asyncio.to_thread(self._thread.join, self._lease.seconds)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except Exception:  # noqa: BLE001 # the thread's outermost frame: a worker without a heartbeat must end
            _log.exception("heartbeat_died")
            self._end_process(HUNG)

    async def _live(self) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        self._poked = lambda: loop.call_soon_threadsafe(woken.set)
        database = self._open()
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            workers = Workers(database)
            while not self._is_stopping:
                await self._beat(workers)
                await wait_for_event(woken, self._lease.seconds / _BEATS_A_LEASE)
                woken.clear()
            watch.cancel()
        self._poked = None
        with contextlib.suppress(StoreError):  # leaving anyway
            await database.aclose()

    async def _beat(self, workers: Workers) -> None:
        try:
            if self._lease.worker_id is None:
                await self._register(workers)
            else:
                await self._renew(workers)
        except StoreError as error:
            _log.warning("heartbeat_missed", reason=str(error))

    async def _register(self, workers: Workers) -> None:
        if not self._in_flight.is_clear:
            return  # what was held under the old id has yet to stop, and what it claimed last to be answered
        worker_id, sent_at = new_worker_id(), time.monotonic()
        await workers.register(worker_id, self._offer, self._lease.duration)
        self._lease.begin(worker_id, sent_at)
        _log.info("worker_registered", worker_id=str(worker_id))
        self._call(self._callbacks.registered)

    async def _renew(self, workers: Workers) -> None:
        worker_id, sent_at = self._lease.worker_id, time.monotonic()
        if worker_id is None:
            return
        if not await workers.renew(worker_id, self._lease.duration):
            _log.error("worker_found_dead", worker_id=str(worker_id))
            self._lease.end()
            self._call(self._callbacks.found_dead)
            return
        self._lease.renewed(sent_at)
        asked_at, before = time.monotonic(), self._in_flight.attempts()
        rows = await workers.held_rows(worker_id)
        self._call(lambda: self._callbacks.read_back(asked_at, before, rows))

    async def _watch(self) -> None:
        """See to what must happen at its time even where a beat is stuck, or the event loop is."""
        while True:
            self._unanswered += 1
            self._call(self._note_answer)
            self._see_to_lease()
            self._see_to_loop()
            await asyncio.sleep(self._lease.seconds / TOUCHES_A_LEASE)

    def _see_to_lease(self) -> None:
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

    def _see_to_loop(self) -> None:
        longest = max((attempt.timeout_seconds for attempt in self._in_flight.running()), default=0.0)
        # Counted in looks, not by the clock: a process that was frozen as a whole has not hung.
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
