"""Every hot statement goes by its indexes and looks at few rows, whatever the planner believes about the table.

The statistics of a queue are always out of date. So each statement is planned with those of an empty table, with those
of a table in which every task has ended, and with fresh ones; once with known parameters and once as a generic plan.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from task_contracts import Priority, SortOrder, TaskStatus, limits
from task_contracts.lifecycle import CANCELLATION, Event
from task_store import Base, Database, TaskFilter
from task_store._driver_statement import driver_statement
from task_store._statements import (
    activity,
    bulk,
    cancel_rerun,
    changes,
    checkpoint,
    claims,
    create,
    dispatch,
    explain,
    history,
    live,
    pages,
    pauses,
    progress,
    purge,
    record,
    reject,
    uncounted,
    workers,
)
from task_store._statements.statement import Statement
from task_store.statements_page import statements as all_statements

TASKS = Base.metadata.tables["tasks"]
INDEXES = {str(index.name) for index in (*TASKS.indexes, TASKS.primary_key)}
PRIORITIES = [str(priority) for priority in Priority]
ME, DEAD = uuid4(), uuid4()
HELD = 20
WAITING, RUNNING, FAILED = 20_000, 2_000 + 2 * HELD, 300
ACTIVITY_MINUTES = 14 * 24 * 60 + 60
"""Those of the fortnight that is kept, and an hour more."""

ID = "('00000000-0000-7000-8000-' || lpad(to_hex(nextval('ids')), 12, '0'))::uuid"
"""Ids that grow with time, as UUIDv7 does."""

FILL = f"""
INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at, dispatched_at,
                   lost_count, attempt, worker_id, lease_token, started_at, finished_at, error, fingerprint)
SELECT {ID}, 2, 'a task', type, queue, (ARRAY['LOW', 'MEDIUM', 'HIGH'])[1 + n % 3], status,
       now() - interval '9 days', now() - interval '8 days' + n * interval '1 second',
       CASE WHEN is_dispatched THEN now() END, lost, 1, worker, token,
       CASE WHEN worker IS NOT NULL THEN now() - interval '8 days' END,
       CASE WHEN status IN ('COMPLETED', 'FAILED') THEN now() - interval '5 days' - n * interval '1 second' END,
       CASE WHEN status = 'FAILED' THEN '{{}}'::jsonb END,
       CASE WHEN status = 'FAILED' THEN 'kind ' || n % 10 END
FROM (VALUES
    -- how many, status, type, queue, dispatched, lost, worker
    ({WAITING}, 'NEW', 'echo', 'default', false, 0, NULL::uuid),
    ({WAITING // 4}, 'PENDING', 'echo', 'default', true, 0, NULL),
    ({WAITING // 2}, 'NEW', 'other', 'default', false, 0, NULL),
    (30, 'PENDING', 'echo', 'default', false, 2, NULL),
    ({RUNNING - 2 * HELD}, 'IN_PROGRESS', 'echo', 'default', true, 0, '{uuid4()}'),
    ({HELD}, 'IN_PROGRESS', 'echo', 'default', true, 0, '{ME}'),
    ({HELD}, 'IN_PROGRESS', 'echo', 'default', true, 0, '{DEAD}'),
    ({FAILED}, 'FAILED', 'echo', 'default', false, 0, NULL)
) AS kinds(count, status, type, queue, is_dispatched, lost, worker)
CROSS JOIN LATERAL generate_series(1, count) AS n
CROSS JOIN LATERAL (SELECT CASE WHEN worker IS NOT NULL THEN gen_random_uuid() END AS token) AS lease
"""
FILL_ENDED = f"""
INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at, worker_id,
                   lease_token, started_at, finished_at)
SELECT {ID}, 2, 'a task', 'echo', 'default', 'MEDIUM', 'COMPLETED', now() - interval '9 days',
       now() - interval '9 days', gen_random_uuid(), gen_random_uuid(), now() - interval '9 days',
       now() - interval '9 days' + n * interval '1 second'
FROM generate_series(1, {WAITING}) AS n
"""
FILL_WORKERS = f"""
INSERT INTO workers (id, queues, types, started_at, expires_at, ticked_at, steady_since, reaches_broker, dead_at)
VALUES ('{ME}', '{{default}}', '{{echo}}', now(), now() + interval '1 hour', now(), now(), true, NULL),
       ('{DEAD}', '{{default}}', '{{echo}}', now(), now(), now(), now(), true, now())
"""
FILL_KEYED = f"""
INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at, worker_id,
                   lease_token, started_at, finished_at, idempotency_key, request_hash)
SELECT {ID}, 2, 'a task', 'echo', 'default', 'MEDIUM', 'COMPLETED', now() - interval '9 days',
       now() - interval '9 days', gen_random_uuid(), gen_random_uuid(), now() - interval '9 days',
       now() - interval '9 days' + n * interval '1 second',
       'key-' || (n / 50) || CASE WHEN n % 50 = 0 THEN '' ELSE ' ' || (1 + n % 50) END, sha256('request')
FROM generate_series(1, {WAITING}) AS n
"""
STATISTICS = {
    "of an empty table": ("ANALYZE", FILL_ENDED, FILL_KEYED, FILL),
    "of a table in which all has ended": (FILL_ENDED, FILL_KEYED, "ANALYZE", FILL),
    "fresh": (FILL_ENDED, FILL_KEYED, FILL, "ANALYZE"),
}


@dataclass(frozen=True)
class Case:
    """A statement, with how many rows of `tasks` it may look at, and how many pages of 8 KiB it may touch.

    One that is not hot may read all of a table which the planner takes for empty.
    """

    statement: Statement
    values: dict[str, Any]
    rows: int
    pages: int = 2_000
    is_hot: bool = True


@dataclass
class Known:
    """Ids and tokens of rows in the filled table."""

    waiting: list[UUID]
    held: list[tuple[UUID, UUID]]
    suspect: UUID


def statements(known: Known) -> dict[str, Case]:
    offered = {"queues": ["default", "reports"], "types": ["echo", "build"]}
    me = {"worker_id": ME, "lease_token": uuid4(), **offered}
    ids = known.waiting[:45]
    slots = 10
    lanes = list(product(("default", "reports"), PRIORITIES, ("echo", "build")))
    queues, priorities, types = map(list, zip(*lanes, strict=True))
    since = [datetime.min.replace(tzinfo=UTC)] * len(lanes)
    overdue = {
        "queue": queues,
        "priority": priorities,
        "type": types,
        "since": since,
        "weight": [1.0] * len(lanes),
        "candidates": 4 * slots,
        "overdue": timedelta(seconds=2),
        "resting": ids[:1],
    }
    quotas = {
        "queue": ["default"] * 3 + ["reports"],
        "priority": [*PRIORITIES, "HIGH"],
        "ids": [50, 50, 50, 50],
        "lane_queue": queues,
        "lane_priority": priorities,
        "lane_type": types,
        "lane_since": since,
    }
    held_ids, tokens = map(list, zip(*known.held, strict=True))
    nothing = [None] * HELD
    endings = {
        "id": held_ids,
        "lease_token": tokens,
        "event": ["COMPLETE", "FAIL"] * (HELD // 2),
        "result": ["[1]", None] * (HELD // 2),
        "error": [None, '{"code": "failed", "message": "no"}'] * (HELD // 2),
        "traceback": nothing,
        "fingerprint": nothing,
        "delay_seconds": [0.0] * HELD,
        "host": "web-1",
        "pid": 4711,
    }
    checkpoints = {"id": held_ids, "lease_token": tokens, "checkpoint": ['{"page": 1}'] * HELD}
    reports = {"id": held_ids, "lease_token": tokens, "progress": ['{"percent": 1}'] * HELD}
    new = {
        "id": [uuid4() for _ in ids],
        **{name: [name] * len(ids) for name in ("name", "description", "type", "queue")},
        "labels": ["{}"] * len(ids),
        "payload": ["{}"] * len(ids),
        "priority": ["LOW"] * len(ids),
        **{name: [None] * len(ids) for name in ("run_at", "timeout_seconds", "max_attempts")},
    }
    keys = {
        "scope": [""] * len(ids),
        "idempotency_key": [f"new {n}" for n in range(len(ids))],
        "request_hash": ["\\x" + "00" * 32] * len(ids),
    }
    one = {"task_id": ids[0]}
    lane = {"queue": "default", "priority": "HIGH", "type": "echo"}
    last_of_lane = {**one, **lane, "due_at": "2100-01-01T00:00:00Z"}
    suspects = {**offered, "overdue": timedelta(seconds=2), "resting": [], "suspects": 4}
    watched = {"id": ids, "version": [0] * len(ids), "bytes": 4 << 20}
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    lately = {"after_finished_at": "2020-01-01T00:00:00Z", "after_id": ids[0], "rows": 100}
    failed = TaskFilter(statuses=frozenset({TaskStatus.FAILED}))
    of_kind = TaskFilter(fingerprint="kind 7")
    of_worker = TaskFilter(worker_id=ME)
    ended = TaskFilter(finished_from=long_ago)
    begun = TaskFilter(id_prefix=ids[0].hex[:31])
    return {
        "attempts": Case(history.ATTEMPTS, {**one, "rows": 1_000, "bytes": 4 << 20}, rows=1, pages=20),
        "finished ids": Case(
            pages.FINISHED_IDS,
            {"finished_from": long_ago, "finished_to": datetime(9000, 1, 1, tzinfo=UTC), "rows": 100},
            rows=100,
            is_hot=False,
        ),
        "page of a kind of failure": Case(
            pages.page(of_kind, is_full=False, items=50), {}, rows=2 * FAILED // 10, pages=400
        ),
        "total of a kind of failure": Case(pages.total(of_kind), {}, rows=FAILED // 10, pages=400),
        "rerun a kind of failure": Case(
            bulk.change([Event.RERUN], of_kind, items=50, began_at=None), {}, rows=4 * FAILED // 10
        ),
        "page of what a worker runs": Case(
            pages.page(of_worker, is_full=False, items=50), {}, rows=4 * HELD, pages=400
        ),
        "cancel what a worker runs": Case(
            bulk.change(CANCELLATION, of_worker, items=50, began_at=None), {}, rows=6 * HELD
        ),
        "page of what ended": Case(pages.page(ended, is_full=False, items=50), {}, rows=90_000, is_hot=False),
        "page of the beginning of an id": Case(pages.page(begun, is_full=False, items=50), {}, rows=2 * 16, pages=400),
        "claim by id": Case(claims.BY_ID, {"id": ids, "slots": 40, "bytes": 4 << 20, **me}, rows=2 * len(ids)),
        "overdue": Case(claims.OVERDUE, overdue, rows=len(lanes) * (4 * slots + 1)),
        "suspects": Case(claims.SUSPECTS, suspects, rows=30),
        "suspect": Case(claims.SUSPECT, {**me, "id": known.suspect, "held_id": held_ids}, rows=HELD + 3),
        "record": Case(record.RECORD, endings, rows=2 * HELD),
        "checkpoint": Case(checkpoint.CHECKPOINT, checkpoints, rows=2 * HELD),
        "progress": Case(progress.PROGRESS, reports, rows=2 * HELD),
        "sweep": Case(record.SWEEP, {"worker_id": [ME, DEAD], "rows": 500}, rows=2 * HELD),
        "mark": Case(dispatch.MARK, quotas, rows=3 * 3 * 50 + len(lanes), pages=4_000),
        "next due": Case(dispatch.NEXT_DUE, quotas, rows=3),
        "marks that are taken back": Case(
            pauses.UNDISPATCH,
            {name: overdue[name] for name in ("queue", "priority", "type", "since")}
            | {"until": datetime.now(UTC), "rows": 100},
            rows=90_000,  # of the lanes that were paused, once
            pages=4_000,
            is_hot=False,
        ),
        "held": Case(workers.HELD, {"worker_id": ME}, rows=HELD),
        "held among": Case(workers.HELD_AMONG, {"worker_id": ME, "id": held_ids}, rows=HELD),
        "create": Case(create.CREATE, new, rows=0),
        "create keyed": Case(create.CREATE_KEYED, new | keys, rows=0),
        "create batch": Case(create.CREATE_BATCH, new | {name: column[0] for name, column in keys.items()}, rows=0),
        "count waiting": Case(
            activity.COUNT_WAITING, {"queue": "default", "priority": "LOW"}, rows=limits.TOTAL_MAX + 20, pages=4_500
        ),
        "any waiting": Case(activity.ANY_WAITING, {"queue": ["default"] * 3, "priority": PRIORITIES}, rows=3, pages=30),
        "count running": Case(activity.COUNT_RUNNING, {}, rows=3_000),
        "get by key": Case(pages.GET_BY_KEY, {"scope": "", "idempotency_key": "key-7"}, rows=1, pages=10),
        "get batch": Case(pages.GET_BATCH, {"scope": "", "idempotency_key": "key-7"}, rows=50, pages=200),
        "page of a key": Case(
            pages.page(TaskFilter(idempotency_key="key-7", order=SortOrder.OLDEST), is_full=False, items=50),
            {},
            rows=4 * 50,  # for the page and for the last id examined: in the index, then by the ids
            pages=400,
        ),
        "get": Case(pages.GET, one, rows=1, pages=10),
        "state": Case(pages.STATE, one, rows=1, pages=10),
        "is key known": Case(pages.IS_KEY_KNOWN, {"scope": "", "idempotency_key": "key-7"}, rows=1, pages=10),
        "explain": Case(explain.TASK, one, rows=1, pages=20),
        "explain the wait": Case(explain.WAIT, last_of_lane, rows=limits.AHEAD_MAX + 1, pages=1_500),
        "delete": Case(cancel_rerun.CANCEL, one, rows=2, pages=50),
        "rerun": Case(cancel_rerun.RERUN, one, rows=2, pages=50),
        "reschedule": Case(
            cancel_rerun.RESCHEDULE,
            {**one, "priority": "HIGH", "run_at": None, "is_run_at_given": True, "versions": [1]},
            rows=2,
            pages=100,
        ),
        "reject": Case(
            reject.REJECT,
            {"priority": PRIORITIES, "lease": timedelta(seconds=30), "rows": 100},
            rows=2 * 100 + 3 * 3,
            pages=3_000,
        ),
        "dead holders": Case(workers.DEAD_HOLDERS, {}, rows=RUNNING, pages=4_000),
        "forget dead": Case(workers.FORGET_DEAD, {"age": timedelta()}, rows=RUNNING, pages=4_000),
        "forget offers": Case(workers.FORGET_OFFERS, {"age": timedelta()}, rows=100, pages=4_000),
        "old": Case(
            purge.OLD,
            {
                "age": timedelta(days=1),
                "rows": 100,
                "after_finished_at": "2020-01-01T00:00:00Z",
                "after_id": ids[0],
            },
            rows=2 * 100,
            is_hot=False,
        ),
        "purge": Case(purge.PURGE, {"age": timedelta(days=1), "id": ids}, rows=2 * len(ids)),
        "changed": Case(changes.CHANGED, watched, rows=len(ids)),
        "finished": Case(changes.FINISHED, lately, rows=2 * 100, is_hot=False),
        "present": Case(
            changes.present(TaskFilter(queue="default"), long_ago, items=1_001),
            {},
            rows=2 * (WAITING * 7 // 4 + WAITING + 3_000),
            pages=90_000,
            is_hot=False,
        ),
        "page of these ids": Case(
            pages.page(TaskFilter(ids=tuple(ids), statuses=frozenset({TaskStatus.FAILED})), is_full=False, items=50),
            {},
            rows=2 * len(ids),
            pages=600,
            is_hot=False,
        ),
        "first page": Case(pages.page(TaskFilter(), is_full=True, items=50), {}, rows=51, pages=200, is_hot=False),
        "page of the oldest": Case(
            pages.page(TaskFilter(order=SortOrder.OLDEST, after=ids[0], queue="default"), is_full=False, items=50),
            {},
            rows=51,
            pages=200,
            is_hot=False,
        ),
        "cancel many": Case(
            bulk.change(CANCELLATION, TaskFilter(queue="default"), items=50, began_at=None),
            {},
            rows=FAILED + 51 + 2 * 50,
            is_hot=False,
        ),
        "rerun many": Case(
            bulk.change([Event.RERUN], TaskFilter(), items=50, began_at=None), {}, rows=51 + 2 * 50, is_hot=False
        ),
        "count of the rerun": Case(
            bulk.count([Event.RERUN], TaskFilter(), began_at=None), {}, rows=FAILED, pages=400, is_hot=False
        ),
        "page of the failed": Case(pages.page(failed, is_full=False, items=50), {}, rows=51, pages=400, is_hot=False),
    }


class Planner:
    """Runs statements with EXPLAIN, as the store runs them, and rolls them back."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def explain(self, case: Case, mode: str) -> dict[str, Any]:
        sent = driver_statement(case.statement.sql)
        literals = ", ".join(map(_literal, sent.arguments(defaultdict(lambda: None, case.values))))
        run = self._connection.exec_driver_sql
        await run(f"SET plan_cache_mode = {mode}")
        await run(f"PREPARE hot AS {sent.text}")
        await run("BEGIN")
        try:
            arguments = f"({literals})" if literals else ""
            explained = await run(f"EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT JSON) EXECUTE hot{arguments}")
            (plan,) = json.loads(explained.scalar_one())
            return plan["Plan"]
        finally:
            await run("ROLLBACK")
            await run("DEALLOCATE hot")


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "'{" + ", ".join(_element(one) for one in value) + "}'"
    if isinstance(value, timedelta):
        return f"'{value.total_seconds()} seconds'"
    return f"'{json.dumps(value) if isinstance(value, dict) else value}'"


def _element(value: Any) -> str:
    return "NULL" if value is None else json.dumps(str(value))


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def scans(plan: Mapping[str, Any], table: str = "tasks") -> list[Mapping[str, Any]]:
    """Return the nodes that read `table`."""
    return [
        node
        for node in nodes(plan)
        if node.get("Relation Name") == table and "Scan" in node["Node Type"] and node["Actual Loops"]
    ]


def rows_of(plan: Mapping[str, Any], table: str = "tasks") -> int:
    """Return how many rows of `table` were read."""
    kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return round(sum(sum(node.get(kind, 0) for kind in kinds) * node["Actual Loops"] for node in scans(plan, table)))


def indexes_of(plan: Mapping[str, Any]) -> set[str]:
    """Return the indexes of `tasks` that were used."""
    return INDEXES & {str(node.get("Index Name")) for node in nodes(plan) if node["Actual Loops"]}


def pages_of(plan: Mapping[str, Any]) -> int:
    return sum(plan[f"Shared {kind} Blocks"] for kind in ("Hit", "Read"))


@asynccontextmanager
async def filled(url: str, *steps: str) -> AsyncIterator[AsyncConnection]:
    async with Database(url, deadline_seconds=60) as database, database._engine.connect() as connection:
        await connection.execute(text("ALTER TABLE tasks SET (autovacuum_enabled = false)"))
        for step in ("CREATE SEQUENCE ids", FILL_WORKERS, *steps):
            await connection.exec_driver_sql(step)
        yield connection


@pytest.mark.parametrize("statistics", STATISTICS)
async def test_statements_go_by_their_indexes_whatever_the_planner_believes(
    statistics: str, database_url: str, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filled(database_url, *STATISTICS[statistics]) as connection:
        query = "SELECT id FROM tasks WHERE status = 'NEW' AND type = 'echo' LIMIT 45"
        waiting = list((await connection.execute(text(query))).scalars())
        query = f"SELECT id, lease_token FROM tasks WHERE worker_id = '{ME}' ORDER BY id"
        held = [tuple(row) for row in await connection.execute(text(query))]
        query = "SELECT id FROM tasks WHERE status IN ('NEW', 'PENDING') AND lost_count >= 2 LIMIT 1"
        suspect = (await connection.execute(text(query))).scalar()
        planner = Planner(connection)
        for name, case in statements(Known(waiting, held, suspect or uuid4())).items():
            if statistics == "of an empty table" and not case.is_hot:
                continue
            for mode in ("force_custom_plan", "force_generic_plan"):
                with subtests.test(statement=name, mode=mode):
                    plan = await planner.explain(case, mode)

                    assert "Seq Scan" not in {node["Node Type"] for node in scans(plan)}
                    assert indexes_of(plan) == INDEXES & set(case.statement.indexes)
                    assert rows_of(plan) <= case.rows
                    assert pages_of(plan) <= case.pages


def test_every_statement_that_goes_by_an_index_of_tasks_is_tried() -> None:
    tried = {case.statement for case in statements(Known([uuid4()], [(uuid4(), uuid4())] * HELD, uuid4())).values()}

    assert {name for name, one in all_statements().items() if INDEXES & set(one.indexes) and one not in tried} == set()


async def test_great_many_tasks_of_another_type_or_of_tomorrow_hide_nothing(
    database_url: str, subtests: pytest.Subtests
) -> None:
    hiding = f"""
    INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at)
    SELECT {ID}, 2, 'a task', CASE WHEN n % 2 = 0 THEN 'aaa' ELSE 'echo' END, 'default', 'HIGH', 'NEW', now(),
           now() + CASE WHEN n % 2 = 0 THEN interval '-1 day' ELSE interval '1 day' END
    FROM generate_series(1, 100000) AS n
    """
    wanted = f"""
    INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at)
    SELECT {ID}, 2, 'a task', 'echo', 'default', 'HIGH', 'NEW', now(), now() - interval '1 minute'
    FROM generate_series(1, 5) AS n
    """
    async with filled(database_url, "ANALYZE", hiding, wanted) as connection:
        planner = Planner(connection)
        cases = statements(Known([uuid4()], [(uuid4(), uuid4())] * HELD, uuid4()))
        for name, rows in {"overdue": 5, "mark": 4 * 5, "next due": 1}.items():
            for mode in ("force_custom_plan", "force_generic_plan"):
                with subtests.test(statement=name, mode=mode):
                    plan = await planner.explain(cases[name], mode)

                    assert rows_of(plan) <= rows
                    assert pages_of(plan) <= 400


async def test_page_for_a_rare_filter_examines_no_more_rows_than_a_page_may(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXAMINED_ROWS_MAX", 1_000)
    async with filled(database_url, FILL_ENDED) as connection:
        page = pages.page(TaskFilter(name="needle"), is_full=False, items=50)

        plan = await Planner(connection).explain(Case(page, {}, rows=0), "force_generic_plan")

    assert rows_of(plan) <= 2 * 1_000


@pytest.mark.parametrize(("events", "status"), [(CANCELLATION, "NEW"), ([Event.RERUN], "CANCELLED")])
async def test_call_that_changes_many_tasks_is_bounded_whatever_matches_and_however_large_they_are(
    events: list[Event], status: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Payloads stay where they are, so a call needs no bound in bytes."""
    monkeypatch.setattr(limits, "EXAMINED_ROWS_MAX", 1_000)
    large = f"""
    INSERT INTO tasks (id, payload, payload_bytes, name, type, queue, priority, status, created_at, due_at, finished_at)
    SELECT {ID}, to_json(text), 180000, 'a task', 'echo', 'default', 'HIGH', '{status}', now(), now(),
           CASE WHEN '{status}' = 'CANCELLED' THEN now() END
    FROM generate_series(1, 20) AS n
    CROSS JOIN LATERAL (SELECT string_agg(gen_random_uuid()::text || n || part, '')
                        FROM generate_series(1, 5000) AS part) AS large(text)
    """
    async with filled(database_url, FILL_ENDED, large, "ANALYZE") as connection:
        found, rare = (
            Case(bulk.change(events, TaskFilter(name=name), items=50, began_at=None), {}, rows=0)
            for name in ("a task", "needle")
        )
        planner = Planner(connection)
        for case in (found, rare):
            plan = await planner.explain(case, "force_generic_plan")

            assert rows_of(plan) <= 2 * 1_000 + 2 * 20
            assert plan["WAL Bytes"] < 20 * 180_000 / 4


async def test_what_a_worker_asks_all_the_time_walks_no_dead_entries_of_an_old_snapshot(
    database_url: str, subtests: pytest.Subtests
) -> None:
    """A worker has run 20,000 tasks since the snapshot was taken, and holds one."""
    run = f"""
    INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at, dispatched_at,
                       attempt, worker_id, lease_token, started_at)
    SELECT {ID}, 2, 'a task', 'echo', 'default', 'HIGH', 'IN_PROGRESS', now(), now(), now(), 1, '{ME}',
           gen_random_uuid(), now()
    FROM generate_series(1, 20001) AS n
    """
    end = (
        "UPDATE tasks SET status = 'COMPLETED', finished_at = now() WHERE id > (SELECT min(id::text)::uuid FROM tasks)"
    )
    suspect = f"""
    INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at, lost_count)
    SELECT {ID}, 2, 'a task', 'echo', 'default', 'HIGH', 'PENDING', now(), now() - interval '1 minute', 2
    """
    async with (
        filled(database_url) as connection,
        Database(database_url, pool_size=1) as database,
        database._engine.connect() as old,
    ):
        await old.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await old.exec_driver_sql("SELECT 1 FROM tasks")
        for step in (run, end, suspect):
            await connection.exec_driver_sql(step)
        held = "SELECT id, lease_token FROM tasks WHERE status = 'IN_PROGRESS'"
        ((held_id, token),) = (await connection.execute(text(held))).all()
        waits = (await connection.execute(text("SELECT id FROM tasks WHERE status = 'PENDING'"))).scalar()
        cases = statements(Known([held_id], [(held_id, token)] * HELD, waits or uuid4()))
        planner = Planner(connection)
        for name in ("suspects", "suspect", "held among", "claim by id", "sweep"):
            values = {**cases[name].values, **({"worker_id": []} if name == "sweep" else {})}
            with subtests.test(statement=name):
                plan = await planner.explain(Case(cases[name].statement, values, rows=0), "force_generic_plan")

                assert pages_of(plan) <= 200


FILL_DEAD = """
INSERT INTO workers (id, queues, types, started_at, expires_at, reaches_broker, dead_at)
SELECT gen_random_uuid(), '{default}', '{echo}', now(), now(), true, now() FROM generate_series(1, 10000) AS n
"""


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["stale", "fresh"])
async def test_every_election_and_sweep_reads_the_living_and_those_who_hold_something_alone(
    is_analyzed: bool, database_url: str, subtests: pytest.Subtests
) -> None:
    """Beside 10,000 dead workers: one that lives, one dead one that holds tasks, and one that has no row."""
    me = {"worker_id": ME, "lease": timedelta(seconds=30)}
    cases = {
        "elect": Case(workers.ELECT, {**me, "reaches_broker": True, "interval": timedelta(seconds=5)}, rows=2),
        "declare dead": Case(workers.DECLARE_DEAD, me, rows=2),
        "dead holders": Case(workers.DEAD_HOLDERS, {}, rows=2 * 3),  # each once for its death, once for its row
        "sweep": Case(record.SWEEP, {"worker_id": [ME, DEAD], "rows": 500}, rows=2),
        "live offers": Case(workers.LIVE_OFFERS, {}, rows=1),
        "capacity": Case(activity.CAPACITY, {}, rows=2),  # of all, and of each queue
        "live types": Case(activity.LIVE_TYPES, {}, rows=1),
        "live workers": Case(live.LIVE_WORKERS, {}, rows=2),  # and who leads them
        "live versions": Case(live.LIVE_VERSIONS, {}, rows=1),
        "explain": Case(explain.TASK, {"task_id": uuid4()}, rows=0),
        "explain the wait": Case(
            explain.WAIT,
            {
                "task_id": uuid4(),
                "due_at": "2020-01-01T00:00:00Z",
                "queue": "default",
                "priority": "HIGH",
                "type": "unknown",
            },
            rows=1,
        ),
        "reject": Case(
            reject.REJECT, {"priority": PRIORITIES, "lease": timedelta(seconds=30), "rows": 100}, rows=1, is_hot=False
        ),
    }
    steps = (FILL, FILL_DEAD, "ANALYZE") if is_analyzed else ("ANALYZE", FILL, FILL_DEAD)
    async with filled(database_url, *steps) as connection:
        planner = Planner(connection)
        for name, case in cases.items():
            for mode in ("force_custom_plan", "force_generic_plan"):
                with subtests.test(statement=name, mode=mode):
                    plan = await planner.explain(case, mode)

                    assert rows_of(plan, "workers") <= case.rows


FILL_ACTIVITY = f"""
INSERT INTO activity_minutes (minute, queue, priority, type, accepted)
SELECT date_trunc('minute', now()) - n * interval '1 minute', 'default', priority, 'echo', 1
FROM generate_series(-1, {ACTIVITY_MINUTES}) AS n, unnest(ARRAY['LOW', 'MEDIUM', 'HIGH']) AS priority
"""
FILL_UNCOUNTED = f"""
INSERT INTO uncounted_tasks (task_id, queue, priority, type)
SELECT {ID}, 'default', 'LOW', 'echo' FROM generate_series(1, 20000) AS n
"""
FILL_QUEUES = """
INSERT INTO queue_now (queue, priority, waiting, waiting_is_capped, running, at)
SELECT 'queue-' || n, priority, 1, false, 0, now()
FROM generate_series(1, 50) AS n, unnest(ARRAY['LOW', 'MEDIUM', 'HIGH']) AS priority
"""


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["stale", "fresh"])
async def test_counts_of_two_weeks_are_written_read_and_forgotten_by_their_key(
    is_analyzed: bool, database_url: str, subtests: pytest.Subtests
) -> None:
    minute = (datetime.now(UTC) - timedelta(minutes=3)).replace(second=0, microsecond=0)
    kinds = [("default", priority, type_) for priority in PRIORITIES for type_ in ("echo", "new")]
    added = {
        "minute": [minute] * len(kinds),
        **{
            name: list(column)
            for name, column in zip(("queue", "priority", "type"), zip(*kinds, strict=True), strict=True)
        },
        **{name: [1] * len(kinds) for name in (*activity.COUNTS, *activity.SUMS)},
    }
    queues = [(f"queue-{number}", priority) for number in range(3) for priority in PRIORITIES]
    counted = {
        "queue": [queue for queue, _ in queues],
        "priority": [priority for _, priority in queues],
        **{name: [1] * len(queues) for name in ("waiting", "running")},
        "waiting_is_capped": ["false"] * len(queues),
        "oldest_due_at": [None] * len(queues),
    }
    cases = {
        "add": Case(activity.ADD, added, rows=0, pages=200),
        "forget": Case(activity.FORGET, {"age": timedelta(days=14), "rows": 100}, rows=3 * 100, pages=800),
        "rates": Case(activity.RATES, {"minutes": [1, 5, 15], "queue": None}, rows=3 * (1 + 5 + 15), pages=200),
        "rates of a queue": Case(
            activity.RATES, {"minutes": [1, 5, 15], "queue": "default"}, rows=3 * (1 + 5 + 15), pages=200
        ),
        "take uncounted": Case(uncounted.TAKE, {"rows": 50}, rows=0, pages=400),
        "queues now": Case(activity.QUEUES_NOW, {}, rows=3 * 50, pages=20),
        "write now": Case(activity.WRITE_NOW, counted, rows=3 * 50, pages=200),
    }
    filling = (FILL_ACTIVITY, FILL_QUEUES, FILL_UNCOUNTED)
    steps = (*filling, "ANALYZE") if is_analyzed else ("ANALYZE", *filling)
    async with filled(database_url, *steps) as connection:
        planner = Planner(connection)
        for name, case in cases.items():
            for mode in ("force_custom_plan", "force_generic_plan"):
                with subtests.test(statement=name, mode=mode):
                    plan = await planner.explain(case, mode)

                    scanned = {one["Node Type"] for one in scans(plan, "activity_minutes")}
                    assert "Seq Scan" not in scanned
                    assert rows_of(plan, "activity_minutes") + rows_of(plan, "queue_now") <= case.rows
                    assert pages_of(plan) <= case.pages


async def test_heartbeats_and_elections_write_no_index(database_url: str) -> None:
    async with filled(database_url) as connection:
        names = ("n_tup_upd", "n_tup_hot_upd")
        read = text(f"SELECT {', '.join(names)} FROM pg_stat_xact_user_tables WHERE relname = 'workers'")
        lease = {"worker_id": ME, "lease": timedelta(seconds=30)}
        before = (await connection.execute(read)).one()
        for statement, values in (
            (workers.RENEW, {**lease, "in_flight": 7}),
            (workers.ELECT, {**lease, "reaches_broker": True, "interval": timedelta(seconds=5)}),
        ):
            sent = driver_statement(statement.sql)
            await connection.exec_driver_sql(sent.text, tuple(sent.arguments(values)))
        after = (await connection.execute(read)).one()

    assert [new - old for old, new in zip(before, after, strict=True)] == [2, 2]
