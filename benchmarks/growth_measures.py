"""The measures of growth: of this service only, on a stage whose table was filled."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from benchmarks import fill, measures
from benchmarks.measures import Values
from benchmarks.stage import SLOTS, Stage, StageError
from benchmarks.usage import MB
from task_contracts import Priority
from task_store import Claims, Database, Offer, Workers, new_lease_token, new_worker_id

CLAIMED_IDS = 50
CLAIMS = 40
PAGES = 20
REQUEST_SECONDS = 30.0

_KEPT = ("worker_cpu", "servers_cpu", "wal")
_PURGED_ROWS = 1_000
_NO_AGE = timedelta()
_LEASE = timedelta(hours=1)
_QUEUE_INDEXES = ("ix_tasks_waiting", "ix_tasks_undispatched", "ix_tasks_suspect", "ix_tasks_running")
_SIZES = f"""
SELECT
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'tasks') / 1000.0 AS dead_rows,
    pg_table_size('tasks') AS table_bytes,
    pg_indexes_size('tasks') AS index_bytes,
    {" + ".join(f"pg_relation_size('{name}')" for name in _QUEUE_INDEXES)} AS queue_index_bytes
"""


async def with_ended(stage: Stage, rows: int) -> Values:
    """Put so many tasks that have ended."""
    await fill.ended(stage.space, rows)
    await fill.settle(stage.space)
    return await sizes(stage)


async def drain(stage: Stage, count: int, *, processes: int = 1, slots: int = SLOTS, filler_bytes: int = 0) -> Values:
    """Put so many tasks and have them drained by a new worker."""
    await put(stage, count, filler_bytes=filler_bytes)
    return await _drain(stage, count, processes=processes, slots=slots)


async def drain_first(stage: Stage, count: int, *, waiting: int, age: timedelta = _NO_AGE) -> Values:
    """Put so many tasks that have been due for `age`, and have the first `count` of them drained by a new worker."""
    await put(stage, waiting, age=age)
    await fill.settle(stage.space)
    return await _drain(stage, count)


async def _drain(stage: Stage, count: int, *, processes: int = 1, slots: int = SLOTS) -> Values:
    found = await measures.drain(stage, processes, slots=slots, count=count)
    return {"drained": found["drain"]} | {key: found[key] for key in _KEPT}


async def put(stage: Stage, count: int, **filling: Any) -> None:
    """Put so many tasks that wait, and have the stage count these alone, and what ends from now on."""
    ((now,),) = await stage.space.rows("SELECT clock_timestamp()::text")
    since = f"FROM tasks WHERE finished_at > '{now}'"
    outcomes, workers = f"SELECT count(*) {since}", f"SELECT count(DISTINCT worker_id) {since}"
    stage.contestant = replace(
        stage.contestant, peer=replace(stage.contestant.peer, outcomes=outcomes, workers=workers)
    )
    await fill.waiting(stage.space, count, **filling)
    stage.enqueued = count


async def load(stage: Stage, seconds: float, count: int) -> None:
    """Have one worker drain so many tasks again and again, for so long."""
    end = time.monotonic() + seconds
    async with stage.workers():
        while time.monotonic() < end:
            await put(stage, count)
            await stage.watch()


async def lists(stage: Stage) -> Values:
    """Ask for pages of lists, and for the stats, one after the other."""
    async with stage.served():
        return await asyncio.to_thread(_lists, stage.http_url)


async def claim(stage: Stage) -> Values:
    """Claim tasks by their ids, as a worker does, with nobody beside it. They stay claimed."""
    await put(stage, (CLAIMS + 1) * CLAIMED_IDS)
    ids = [row["id"] for row in await stage.space.rows("SELECT id FROM tasks WHERE status = 'NEW' ORDER BY due_at, id")]
    offer, worker_id = Offer(("default",), {"noop": None}), new_worker_id()
    seconds = []
    async with Database(stage.space.database_url) as database:
        await Workers(database).register(worker_id, offer, _LEASE)
        claims = Claims(database, database, database, offer, dict.fromkeys(Priority, 1))
        for first in range(0, len(ids), CLAIMED_IDS):
            began = time.perf_counter()
            claimed = await claims.by_id(worker_id, ids[first : first + CLAIMED_IDS], new_lease_token())
            seconds.append(time.perf_counter() - began)
            if len(claimed.claims) < CLAIMED_IDS:
                raise StageError(f"{len(claimed.claims)} of {CLAIMED_IDS} tasks were claimed")
    return {"claim": _median_ms(seconds[1:])}  # the first one connected


async def purge(stage: Stage, count: int) -> Values:
    """Purge the so many tasks that ended first, as the leader does."""
    async with Database(stage.space.database_url) as database:
        workers, purged, last = Workers(database), 0, None
        began = time.perf_counter()
        while purged < count and (
            found := await workers.old_tasks(_NO_AGE, rows=min(_PURGED_ROWS, count - purged), after=last)
        ):
            purged, last = purged + await workers.purge(_NO_AGE, [task.id for task in found]), found[-1]
        seconds = time.perf_counter() - began
    if purged < count:
        raise StageError(f"{purged} of {count} tasks were purged")
    return {"purge": purged / seconds}


async def sizes(stage: Stage) -> Values:
    """Return the sizes of the table and its indexes, and how many rows are dead, as PostgreSQL's statistics say."""
    (found,) = await stage.space.rows(_SIZES)
    return {
        "dead_rows": float(found["dead_rows"]),
        "queue_indexes": found["queue_index_bytes"] / MB,
        "other_indexes": (found["index_bytes"] - found["queue_index_bytes"]) / MB,
        "table": found["table_bytes"] / MB,
    }


def _lists(url: str) -> Values:
    server = urlsplit(url)
    connection = HTTPConnection(server.hostname or "", server.port, timeout=REQUEST_SECONDS)
    try:
        found = {
            "list": _pages(connection, "/api/v1/tasks?limit=50"),
            "list_failed": _pages(connection, "/api/v1/tasks?limit=50&status=FAILED"),
            "list_none": _pages(connection, "/api/v1/tasks?limit=50&status=NEW"),
            "stats": (_answer(connection, "/api/v1/stats")[0] for _ in range(PAGES)),
        }
        _answer(connection, "/api/v1/stats")  # the first one connects
        return {key: _median_ms(list(islice(seconds, PAGES))) for key, seconds in found.items()}
    finally:
        connection.close()


def _pages(connection: HTTPConnection, path: str) -> Iterator[float]:
    """Yield how long each page takes: one after the other, from the first one again after the last, for ever."""
    cursor = None
    while True:
        seconds, answer = _answer(connection, f"{path}&cursor={cursor}" if cursor else path)
        cursor = answer["next_cursor"]
        yield seconds


def _answer(connection: HTTPConnection, path: str) -> tuple[float, Any]:
    began = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - began
    if response.status != 200:
        raise StageError(f"GET {path}: {response.status}")
    return seconds, json.loads(body)


def _median_ms(seconds: list[float]) -> float:
    return 1_000 * statistics.median(seconds)
