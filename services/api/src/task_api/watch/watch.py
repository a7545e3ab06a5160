"""Reads the tasks that anybody in this process waits for, in statements that all of them share.

**Invariants**

- One statement runs at a time, however many wait. Ids from signals and of those who begin to watch are gathered while
  it runs, or for `_PAUSE_SECONDS`, and read by the next; a lone one waits for neither.
- A lost signal costs a second: what is watched by its id is read again each second if it was not, and what ends is
  looked for each second where anybody watches by a filter. Beyond `_AGAIN_IDS` it takes as many seconds more.
- What failed to be read is read again: an outage loses nothing but time.
- With nobody to watch for, no statement runs, and no signals are asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Set
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Self
from uuid import UUID

from task_api.watch.filters import Filters
from task_api.watch.finished_scan import FinishedScan
from task_api.watch.subscription import Change, Subscription
from task_api.watch.versions import Versions
from task_api.watch.watched_ids import WatchedIds
from task_bus.signals import Signals
from task_contracts import Signal, SignalKind
from task_runtime import get_logger
from task_store import BatchLimit, ChangedTasks, Changes, DatabaseUnavailableError, StoreError, TaskFilter, WatchedTask

_log = get_logger(__name__)

_AGAIN_SECONDS = 1.0
"""How often what was not heard of is read again."""
_AGAIN_IDS = 10_000
"""Ids that are read again each second; of more, those that were not read for longest."""
_READ_IDS = 1_000
"""Ids of one statement."""
_PAUSE_SECONDS = 0.05
"""From the beginning of one reading to that of the next, at least: while there are many signals."""
_HEARD_IDS = 50_000
"""Ids of signals that may wait to be read. More are dropped as if their signals were lost."""
_LINGER_SECONDS = 60.0
"""How long signals are still listened to when nobody watches any more: to begin costs a queue in the broker."""
_MATCHES = 2_000
"""Matches and deliveries after which the event loop has its turn."""


class Watch:
    """Hands changes of tasks to those who subscribe. Open it by `async with`, and use it on one event loop.

    Args:
        changes: reads the tasks.
        signals: those of kind `changed` are listened to while anybody watches.
        stop: once it is set, every subscription ends.

    """

    def __init__(self, changes: Changes, signals: Signals, stop: asyncio.Event) -> None:
        self.changes = changes
        self._signals = signals
        self._stop = stop
        self.subscriptions: dict[Subscription, None] = {}
        """Those that are open."""
        self._ids = WatchedIds()
        self._filters = Filters()
        self._seen = Versions()
        self._scan = FinishedScan(changes, self._seen)
        self._limit = BatchLimit(_READ_IDS)
        self._pending: dict[UUID, bool] = {}
        """The ids to be read, and whether somebody has said that they have changed: else only those who watch the id
        itself are told what is found."""
        self._beginning: dict[Subscription, None] = {}
        self._reads = 0
        self.is_failing = False
        """The last reading got no answer: what was handed out may be old."""
        self._cursor: datetime | None = None
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    @property
    def cursor(self) -> datetime:
        """A time of the database: all that changed before it was handed out. Known once a subscription is ready."""
        assert self._cursor is not None  # noqa: S101 # the reading that makes a subscription ready sets it
        return self._cursor

    @asynccontextmanager
    async def subscribed(
        self, wanted: TaskFilter, present_since: datetime | None = None
    ) -> AsyncIterator[Subscription]:
        """Open a subscription (see there), which is ready once the database was read. It ends with the block."""
        subscription = Subscription(wanted, present_since)
        subscription.reads_before = self._reads
        self._add(subscription)
        try:
            yield subscription
        finally:
            self._remove(subscription)

    async def __aenter__(self) -> Self:
        self._loops = [asyncio.create_task(self._run()), asyncio.create_task(self._end_at_stop())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every subscription, and stop reading."""
        self._end_all()
        for loop in self._loops:
            loop.cancel()
        await asyncio.wait(self._loops)

    def _add(self, subscription: Subscription) -> None:
        self.subscriptions[subscription] = None
        self._beginning[subscription] = None
        if subscription.wanted.ids:
            self._ids.add(subscription)
            self._queue(subscription.wanted.ids)
        else:
            self._filters.add(subscription)
        if self._stop.is_set():
            subscription.end()
        self._wake.set()

    def _remove(self, subscription: Subscription) -> None:
        self.subscriptions.pop(subscription, None)
        self._beginning.pop(subscription, None)
        self._ids.remove(subscription)
        self._filters.remove(subscription)
        if not self._filters:  # nobody wants what was heard of others
            self._scan.reset()
            self._seen.clear()

    async def _end_at_stop(self) -> None:
        await self._stop.wait()
        self._end_all()

    def _end_all(self) -> None:
        for subscription in self.subscriptions:
            subscription.end()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._read_while_wanted()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                _log.exception("watch_failed")  # the broker's library raises it where nobody has cancelled
            except Exception:  # noqa: BLE001 # the outermost frame of a loop: it logs once, and the loop goes on
                _log.exception("watch_failed")
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _read_while_wanted(self) -> None:
        """Read for as long as anybody watches, and listen to signals a little longer."""
        async with self._listening():
            while await self._is_anybody_watching():
                began = time.monotonic()
                is_answered = await self._read_all()
                pause = _PAUSE_SECONDS if is_answered else _AGAIN_SECONDS
                await asyncio.sleep(max(0.0, began + pause - time.monotonic()))
                await self._until(began + _AGAIN_SECONDS)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Listen to signals. A broker that does not answer keeps nobody waiting."""
        beginning = asyncio.create_task(self._signals.listen({SignalKind.CHANGED}, self._on_signal))
        try:
            yield
        finally:
            if not beginning.done():
                beginning.cancel()
            (listening,) = await asyncio.gather(beginning, return_exceptions=True)
            if not isinstance(listening, BaseException):
                await listening.cancel()

    async def _is_anybody_watching(self) -> bool:
        if not self.subscriptions:
            self._pending.clear()
            self._wake.clear()
            await self._until(time.monotonic() + _LINGER_SECONDS)
        return bool(self.subscriptions)

    async def _until(self, moment: float) -> None:
        """Wait until there is something to read, or until this time (monotonic)."""
        try:
            async with asyncio.timeout(moment - time.monotonic()):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _on_signal(self, signal: Signal) -> None:
        for task_id in signal.ids:
            if (self._filters or task_id in self._ids) and len(self._pending) < _HEARD_IDS:
                self._pending[task_id] = True
        if self._pending:
            self._wake.set()

    async def _read_all(self) -> bool:
        """Read what is pending, and what it is time to read again; return whether the database has answered for all.

        Those who have begun are ready then.
        """
        self._wake.clear()
        began = time.monotonic()
        now = None
        todo: dict[UUID, bool] = {}
        try:
            self._queue(self._ids.unread_since(began - _AGAIN_SECONDS, _AGAIN_IDS))
            if self._filters and self._is_scan_due(began):
                async for ids in self._scan.look():
                    self._pending.update(dict.fromkeys(ids, True))
            todo, self._pending = self._pending, {}  # what is heard of from here on is read by the next reading
            while todo or now is None:
                read_at = time.monotonic()
                read = await self._read_first(todo)
                now = now or read.now - timedelta(seconds=read_at - began)
        except (StoreError, TimeoutError) as error:
            if not self.is_failing:
                _log.warning("watch_without_database", reason=str(error) or type(error).__name__)
            self.is_failing = True
            return False
        finally:
            self._pending = {**todo, **self._pending}
        self.is_failing = False
        oldest = min(began, self._ids.oldest_read, self._scan.complete_at if self._filters else began)
        self._cursor = now - timedelta(seconds=began - oldest)
        self._mark_ready()
        return True

    def _is_scan_due(self, now: float) -> bool:
        is_wanted = any(one.began_at > self._scan.complete_at for one in self._beginning if not one.wanted.ids)
        return is_wanted or self._scan.complete_at <= now - _AGAIN_SECONDS

    async def _read_first(self, todo: dict[UUID, bool]) -> ChangedTasks:
        """Read the first of `todo`, hand out what has changed, and take out what was answered."""
        batch = dict(islice(todo.items(), self._limit.items))
        self._reads += 1
        number, began_at = self._reads, time.monotonic()
        try:
            read = await self.changes.read({task_id: self._version(task_id) for task_id in batch})
        except DatabaseUnavailableError:
            self._limit.unanswered(len(batch))
            raise
        self._limit.answered(len(batch))
        cursor = self._cursor or read.now
        matches = 0
        for task in read.tasks:
            matches += self._deliver(task, Change(task.state, cursor), number, is_news=batch[task.state.id])
            if matches > _MATCHES:
                matches = 0
                await asyncio.sleep(0)
        for task_id in read.gone:
            self._ids.deliver_gone(task_id, number)
        answered = set(islice(batch, read.answered))
        self._note_read(answered, number, began_at)
        for task_id in answered:
            del todo[task_id]
        return read

    def _queue(self, ids: Iterable[UUID]) -> None:
        for task_id in ids:
            self._pending.setdefault(task_id, False)

    def _version(self, task_id: UUID) -> int:
        return self._ids.version(task_id) if task_id in self._ids else self._seen[task_id]

    def _deliver(self, task: WatchedTask, change: Change, number: int, *, is_news: bool) -> int:
        """Hand out one change, and return how much work that was."""
        has_changed = self._ids.deliver(task, change, number)
        if not self._filters or not (is_news or has_changed):
            return 1
        before = self._seen.note(task.state.id, task.state.version)
        if before == task.state.version:
            return 1
        work = 0
        for subscription in self._filters.matching(task):
            work += 1
            if number > subscription.reads_before:
                if before > task.state.version:
                    subscription.put_missed()
                subscription.put(change)
        return work + 1

    def _note_read(self, read: Set[UUID], number: int, began_at: float) -> None:
        self._ids.note_read(read, number, began_at)
        for subscription in self._beginning:
            if number > subscription.reads_before:
                subscription.unread = {task_id for task_id in subscription.unread if task_id not in read}

    def _mark_ready(self) -> None:
        """Those who have begun are ready if all they watch was read since."""
        for subscription in tuple(self._beginning):
            is_scanned = subscription.wanted.ids or subscription.began_at <= self._scan.complete_at
            if is_scanned and not subscription.unread:
                del self._beginning[subscription]
                subscription.put_ready()
