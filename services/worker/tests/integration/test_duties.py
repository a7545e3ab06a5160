"""What the leader does to many rows at a time: with fewer after no answer, and past the one row that never gets one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog

from task_store import Database, Offer, Workers
from task_store.testing import Table
from task_worker.leader.election import Leadership
from task_worker.leader.purge import Purge
from task_worker.leader.reject import Reject
from task_worker.leader.sweep import Sweep
from task_worker.lease.lease import Lease

MANY = 20
"""So many rows take a second."""
SLOW_ROWS = """
CREATE FUNCTION slow_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('application_name') = 'impatient' THEN
        PERFORM pg_sleep(CASE WHEN old.name = 'culprit' THEN 60 ELSE 0.05 END);
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN old ELSE new END;
END $$;
CREATE TRIGGER slow_row BEFORE UPDATE OR DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION slow_row()
"""


@pytest.fixture
async def workers(database_url: str, table: Table) -> AsyncIterator[Workers]:
    """The database: its server ends statements after half a second, and each row takes a twentieth of one."""
    await table.execute(SLOW_ROWS)
    async with Database(
        database_url, deadline_seconds=20, statement_timeout_seconds=0.5, application_name="impatient"
    ) as database:
        yield Workers(database)


@pytest.fixture
def lease() -> Lease:
    return Lease(30.0)


def purge(workers: Workers) -> Purge:
    return Purge(workers, workers, Leadership(), timedelta(days=1))


async def old_task(table: Table, **columns: Any) -> UUID:
    return await table.put("FAILED", created_at=timedelta(days=-9), finished_at=timedelta(days=-2), **columns)


async def test_purge_of_more_than_the_server_does_in_time_takes_fewer_rows(workers: Workers, table: Table) -> None:
    for _ in range(MANY):
        await old_task(table)

    await purge(workers).purge()

    assert await table.count("FAILED") == 0


async def test_purge_goes_past_the_task_that_is_ended_alone_and_says_so_once(workers: Workers, table: Table) -> None:
    *_, culprit = [await old_task(table, name=name) for name in ("a task", "culprit")]
    for _ in range(3):
        await old_task(table)

    with structlog.testing.capture_logs() as logs:
        await purge(workers).purge()

    assert [row["id"] for row in await table.fetch("SELECT id FROM tasks")] == [culprit]
    assert [(line["event"], line.get("task_id"), line.get("statement")) for line in logs if "task_id" in line] == [
        ("task_rests", str(culprit), "purge")
    ]


async def test_sweep_takes_fewer_rows_after_no_answer(workers: Workers, table: Table, lease: Lease) -> None:
    dead = await table.dead_worker(draining_at=timedelta(minutes=-2))
    for _ in range(MANY):
        await table.running(dead)
    lease.begin(await table.worker(), 0.0)

    await Sweep(workers, workers, lease, Leadership()).sweep()

    assert await table.count("PENDING") == MANY


async def test_reject_takes_fewer_rows_after_no_answer(workers: Workers, table: Table, lease: Lease) -> None:
    await table.worker(types=["other"])
    for _ in range(MANY):
        await table.put(type="unknown", due_at=timedelta(minutes=-5))

    await Reject(workers, lease, Leadership()).reject()

    assert await table.count("FAILED") == MANY


async def test_purge_of_dead_workers_takes_fewer_rows_after_no_answer(workers: Workers, table: Table) -> None:
    for _ in range(MANY):
        await table.worker(dead_at=timedelta(days=-8))
    await table.execute(
        "CREATE FUNCTION slow_worker() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.05); RETURN old; END $$;"
        "CREATE TRIGGER slow_worker BEFORE DELETE ON workers FOR EACH ROW EXECUTE FUNCTION slow_worker()"
    )

    await purge(workers).purge()

    assert await table.fetch("SELECT 1 FROM workers") == []


async def test_purge_forgets_types_that_nobody_has_offered_for_two_weeks(workers: Workers, table: Table) -> None:
    await workers.offer(Offer(("default",), {"gone": None, "lately": None}))
    for type_, days in (("gone", 15), ("lately", 13)):
        await table.connection.execute(
            "UPDATE task_types SET last_offered_at = now() - $1::interval WHERE type = $2", timedelta(days=days), type_
        )

    await purge(workers).purge()

    assert [row["type"] for row in await table.fetch("SELECT type FROM task_types")] == ["lately"]
