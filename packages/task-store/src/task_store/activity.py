"""Counts of what happens to tasks, for those who look. No task depends on them.

**Invariants**

- What happened is summed in memory and added to the table now and then, in one statement. It is given up where that was
  not answered, never repeated: a count may be too low, never too high.
- A caller's words make no rows without end: a type that no worker offers is counted as `other`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from task_contracts import OTHER_TYPE, Activity, Priority, limits
from task_contracts.lifecycle import Event
from task_store._row import Row
from task_store._statements import activity, uncounted
from task_store.database import Database
from task_store.errors import StoreError

_log = logging.getLogger(__name__)

RATE_MINUTES = (1, 5, 15)
_KINDS_MAX = 1_000
"""Kinds of tasks that are told apart between two writes; further types that nobody offers are `other`."""
_EVERY_SECONDS = 10.0
_WRITE_SECONDS = 3.0

_COUNTED_AS = {
    Event.CREATE: "accepted",
    Event.RERUN: "accepted",
    Event.COMPLETE: "completed",
    Event.FAIL: "failed",
    Event.ABANDON: "failed",
    Event.REJECT: "failed",
    Event.CANCEL: "cancelled",
    Event.CONFIRM_CANCEL: "cancelled",
    Event.CANCEL_LOST: "cancelled",
    Event.RETRY: "retried",
}
"""What each event is counted as; the others are not counted."""
_TIMED = frozenset({Event.COMPLETE, Event.RETRY})
"""Ends whose time is summed. Not FAIL: what fails is counted together with what no handler ran (REJECT, ABANDON)."""
_COLUMNS = (*activity.COUNTS, *activity.SUMS)

_Kind = tuple[str, Priority, str]


class ActivityCounts:
    """Sums what happens in this process until it is taken and written.

    An observer of all tasks (`task_runtime.observers.Observer`).

    Args:
        clock: seconds since 1970.

    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sums: dict[tuple[int, _Kind], dict[str, int]] = {}
        self.offered: frozenset[str] = frozenset()
        """The types of live workers, as far as they are known: these always have a place of their own."""

    def happened(self, kind: _Kind, event: Event, count: int) -> None:
        """Count tasks to which something has happened that ends no attempt of this process, CREATE too."""
        name = _COUNTED_AS.get(event)
        if name is not None:
            self._of(kind)[name] += count

    def started(self, kind: _Kind, wait_seconds: float) -> None:
        """Count an attempt that began so long after its task was due."""
        sums = self._of(kind)
        sums["started"] += 1
        sums["wait_ms_sum"] += max(0, round(wait_seconds * 1000))

    def ended(self, kind: _Kind, event: Event, run_seconds: float, total_seconds: float) -> None:
        """Count an attempt whose end was stored: how long its code ran, and how long ago its task was accepted."""
        del total_seconds
        name = _COUNTED_AS.get(event)
        if name is None:
            return
        sums = self._of(kind)  # once: this is called for every task
        sums[name] += 1
        if event in _TIMED:
            sums["run_ms_sum"] += max(0, round(run_seconds * 1000))

    def take(self) -> dict[tuple[int, _Kind], dict[str, int]]:
        """Return the sums by minute since 1970 and kind, and begin anew."""
        taken, self._sums = self._sums, {}
        return taken

    def _of(self, kind: _Kind) -> dict[str, int]:
        key = (int(self._clock() // 60), kind)
        sums = self._sums.get(key)
        if sums is None:
            if len(self._sums) >= _KINDS_MAX and kind[2] not in self.offered:
                key = (key[0], (kind[0], kind[1], OTHER_TYPE))
            sums = self._sums.setdefault(key, dict.fromkeys(_COLUMNS, 0))
        return sums


@dataclass(frozen=True, slots=True)
class QueueNow:
    """What waits and runs of one priority of a queue, as it was counted at `at` or later."""

    queue: str
    priority: Priority
    waiting: int
    waiting_is_capped: bool
    oldest_due_at: datetime | None
    running: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many workers live, and how many tasks they run at once."""

    live_workers: int = 0
    slots: int = 0


class Activities:
    """The counts in the database. Many asyncio tasks may use one at once.

    Errors of every method: see `task_store.errors`.

    Args:
        database: where the statements run.
        live_types: returns the types that live workers offer, for a process that knows them; else the database is
            asked before counts are added.

    """

    def __init__(self, database: Database, live_types: Callable[[], Awaitable[frozenset[str]]] | None = None) -> None:
        self._database = database
        self._live_types = live_types or self._read_live_types

    async def add(self, counts: ActivityCounts) -> None:
        """Take the sums of `counts` and add them to the table. Never repeat it: what had no answer may be there."""
        taken = counts.take()
        if not taken:
            return
        offered = await self._live_types()
        counts.offered = offered
        sums: dict[tuple[int, str, str, str], dict[str, int]] = {}
        for (minute, (queue, priority, type_)), given in taken.items():
            key = (minute, queue, str(priority), type_ if type_ in offered else OTHER_TYPE)
            into = sums.setdefault(key, dict.fromkeys(_COLUMNS, 0))
            for name, count in given.items():
                into[name] += count
        await self._database.fetch(
            activity.ADD,
            {
                "minute": [datetime.fromtimestamp(60 * key[0], UTC) for key in sums],
                **{name: [key[place] for key in sums] for place, name in enumerate(("queue", "priority", "type"), 1)},
                **{name: [one[name] for one in sums.values()] for name in _COLUMNS},
            },
        )

    async def _read_live_types(self) -> frozenset[str]:
        return frozenset(row["type"] for row in await self._database.fetch(activity.LIVE_TYPES))

    async def forget(self, age: timedelta, *, rows: int) -> list[datetime]:
        """Delete up to `rows` counts of minutes that are longer than `age` ago; return their minutes."""
        found = await self._database.fetch(activity.FORGET, {"age": age, "rows": rows})
        return [row["minute"] for row in found]

    async def take_created(self, *, rows: int) -> Sequence[object]:
        """Count up to `rows` of the tasks that `create_task()` has stored; return as many objects.

        They are told to the `on_happened` of the database, each once. What has no answer may have been told to nobody.
        """
        return await self._database.fetch(uncounted.TAKE, {"rows": rows})

    async def rates(self, queue: str | None = None) -> list[Activity]:
        """Return what happened in the last 1, 5 and 15 whole minutes, in a queue or in all of them."""
        rows = await self._database.fetch(activity.RATES, {"minutes": RATE_MINUTES, "queue": queue})
        return [_activity(row) for row in rows]

    async def queues_now(self) -> tuple[datetime, list[QueueNow]]:
        """Return the database's time, and what waits and runs in each queue and priority as the leader counted it."""
        rows = await self._database.fetch(activity.QUEUES_NOW)
        return rows[0]["now"], [_queue_now(row) for row in rows if row["queue"] is not None]

    async def capacity(self) -> dict[str | None, Capacity]:
        """Return how many workers serve each queue, and under None how many there are."""
        rows = await self._database.fetch(activity.CAPACITY)
        return {row["queue"]: Capacity(row["live_workers"], int(row["slots"])) for row in rows}


class ActivityWriter:
    """Adds counts to the table every ten seconds, from the beginning of its block to the end, and once more there.

    Args:
        activities: where they are added.
        counts: what is added.

    """

    def __init__(self, activities: Activities, counts: ActivityCounts) -> None:
        self._activities = activities
        self._counts = counts

    async def __aenter__(self) -> ActivityWriter:
        self._writing = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writing.cancel()
        await asyncio.wait([self._writing])
        await self.write()

    async def run(self) -> NoReturn:
        """Write for ever."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what there is. Where the database does not answer, it is lost."""
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._activities.add(self._counts)
        except (StoreError, TimeoutError) as error:
            _log.info("activity_lost", extra={"reason": str(error) or "it took too long"})


class QueueCounts:
    """Counts what waits and runs, for the leader; on a connection of its own, since each statement may be slow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def running(self) -> dict[tuple[str, str], int]:
        """Return how many tasks run of each queue and priority."""
        rows = await self._database.fetch(activity.COUNT_RUNNING)
        return {(row["queue"], row["priority"]): row["running"] for row in rows}

    async def any_waiting(self, pairs: Collection[tuple[str, Priority]]) -> set[tuple[str, Priority]]:
        """Return those of some queues and priorities of which any task waits, due or not."""
        values = {"queue": [queue for queue, _ in pairs], "priority": [str(priority) for _, priority in pairs]}
        rows = await self._database.fetch(activity.ANY_WAITING, values)
        return {(row["queue"], Priority(row["priority"])) for row in rows}

    async def waiting(self, queue: str, priority: Priority) -> Mapping[str, Any]:
        """Return how many tasks of a priority of a queue are due and not begun: the columns of `queue_now`."""
        (row,) = await self._database.fetch(activity.COUNT_WAITING, {"queue": queue, "priority": str(priority)})
        most = limits.TOTAL_MAX
        return {
            "queue": queue,
            "priority": str(priority),
            "waiting": min(row["waiting"], most),
            "waiting_is_capped": row["waiting"] > most or row["types"] > activity.TYPES_MAX,
            "oldest_due_at": row["oldest_due_at"],
        }

    async def write(self, counted: Iterable[Mapping[str, Any]]) -> None:
        """Write counts of some priorities of queues; the others keep what they have. Safe to repeat.

        Args:
            counted: what `waiting` returned, each with `running`, or None where that was not counted.

        """
        rows = list(counted)
        names = ("queue", "priority", "waiting", "waiting_is_capped", "oldest_due_at", "running")
        if rows:
            await self._database.fetch(activity.WRITE_NOW, {name: [row[name] for row in rows] for name in names})


def _activity(row: Row) -> Activity:
    counts = {name: int(row[name]) for name in activity.COUNTS}
    timed = sum(counts[_COUNTED_AS[event]] for event in _TIMED)
    return Activity(
        seconds=60 * row["minutes"],
        **counts,
        mean_wait_seconds=_mean(row["wait_ms_sum"], counts["started"]),
        mean_run_seconds=_mean(row["run_ms_sum"], timed),
    )


def _mean(milliseconds: int, count: int) -> float | None:
    return round(int(milliseconds) / count / 1000, 3) if count else None


def _queue_now(row: Row) -> QueueNow:
    names: Sequence[str] = ("queue", "waiting", "waiting_is_capped", "oldest_due_at", "running", "at")
    return QueueNow(priority=Priority(row["priority"]), **{name: row[name] for name in names})
