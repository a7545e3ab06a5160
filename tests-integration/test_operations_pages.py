"""The pages for operators say what the code does.

The events and warnings of docs/log-events.md, the numbers of docs/sizing.md, the exit codes and the SQL of
docs/runbook.md.
"""

from __future__ import annotations

import asyncio
import math
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from fractions import Fraction
from typing import Any

import asyncpg
import pytest

from harness.pages import Page, quoted
from harness.sources import logged_events
from harness.waiting import eventually
from task_api.settings import ApiSettings
from task_api.startup_warnings import api_startup_warnings
from task_runtime import ExitCode, variable_names
from task_service.start_block import service_startup_warnings
from task_store import SCHEMA_REVISION, DatabaseFacts
from task_worker import handler
from task_worker.exits import HUNG, LEASE_LOST
from task_worker.handlers import handler_of
from task_worker.settings import WorkerSettings
from task_worker.startup_warnings import worker_startup_warnings

LOG_EVENTS = Page.read("log-events.md")
RUNBOOK = Page.read("runbook.md")
SIZING = Page.read("sizing.md")
KILLED = 137
QUERY_SECONDS = 1.0
ANY_TEXT = ".+"
BYTES_BY_UNIT = {"MiB": 1 << 20, "KiB": 1 << 10}
URLS = {"database_url": "postgresql://tasks:tasks@db/tasks", "broker_url": "amqp://guest:guest@mq/"}


def test_every_event_that_is_logged_is_in_a_table_with_its_levels_and_nothing_else_is() -> None:
    rows = LOG_EVENTS.rows(first="event")
    levels_on_page = {quoted(row["event"]): set(row["level"].split(", ")) for row in rows}

    assert levels_on_page == logged_events()
    assert len(levels_on_page) == len(rows), "an event stands there twice"
    assert all(row["meaning"] and row["do"] for row in rows)


def test_every_start_warning_is_in_the_table_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_WORKER_DRAIN_SECOND", "1")
    monkeypatch.setenv("TASK_WORKER_COLOUR", "blue")
    patterns = {_pattern(quoted(row["startup warning"])) for row in LOG_EVENTS.rows(first="startup warning")}

    matched = [[pattern for pattern in patterns if re.fullmatch(pattern, text)] for text in _worst_warnings()]

    assert all(len(found) == 1 for found in matched), "a warning has no line of its own"
    assert {found[0] for found in matched} == patterns


def test_every_number_is_the_one_in_the_code() -> None:
    rows = [row for row in SIZING.rows(first="what") if "in the code" in row]

    wrong = [row["what"] for row in rows if not math.isclose(_number(row["value"]), _meant(quoted(row["in the code"])))]

    assert rows
    assert not wrong


def test_every_exit_code_is_in_the_table() -> None:
    codes = [int(quoted(row["exit code"])) for row in RUNBOOK.rows(first="exit code")]

    assert codes == [*ExitCode, HUNG, LEASE_LOST, KILLED]


async def test_every_query_runs_at_once_reading_only_and_finds_what_it_is_there_to_find(database_url: str) -> None:
    queries = RUNBOOK.blocks("sql")
    async with _connected(database_url) as writing, _connected(database_url) as reading:
        await writing.execute(EXAMPLES)
        async with _somebody_waiting_for_a_lock(database_url, writing):
            await reading.execute("SET default_transaction_read_only = on")
            await reading.execute(f"SET statement_timeout = '{QUERY_SECONDS:g}s'")
            found = [await reading.fetch(query) for query in queries]

    assert queries
    assert not [query for query, rows in zip(queries, found, strict=True) if not rows]


def _worst_warnings() -> Iterator[str]:
    """Yield the warnings of the worst setups there are, each once."""

    @handler("slow", timeout_seconds=100)
    def slow() -> None: ...

    slow_one = handler_of(slow)
    assert slow_one is not None
    facts = DatabaseFacts("99.0", 990_000, max_connections=5, fsync="off", synchronous_commit="off")
    newer = f"{SCHEMA_REVISION}x"
    worker = WorkerSettings(**URLS, retention_days=0, drain_seconds=1)
    api = ApiSettings(**URLS, host="0.0.0.0", metrics_port=0, metrics_host="0.0.0.0")
    yield from dict.fromkeys(
        [
            *api_startup_warnings(api, facts, newer),
            *worker_startup_warnings(worker, {}, facts, newer),
            *worker_startup_warnings(worker, {"slow": slow_one}, facts, newer),
            *service_startup_warnings(WorkerSettings(**URLS, max_tasks=1, processes=2)),
        ]
    )


def _pattern(shown: str) -> str:
    """Return the regular expression of a text in which … stands for anything."""
    return ANY_TEXT.join(re.escape(part) for part in shown.split("…"))


def _number(cell: str) -> float:
    """Return the first number of a cell: `1,000`, `0.25`, `1/6`, `64 MiB`."""
    found = re.search(r"([\d,.]*\d(?:/\d+)?)(?: (MiB|KiB))?", cell)
    assert found is not None, f"there is no number in {cell!r}"
    return float(Fraction(found[1].replace(",", "")) * BYTES_BY_UNIT.get(found[2], 1))


def _meant(name: str) -> float:
    """Return what a setting is unless somebody sets it, or what a constant of a module is."""
    for cls in (ApiSettings, WorkerSettings):
        for field, variable in variable_names(cls).items():
            if variable == name:
                return float(cls.model_fields[field].default)
    value: Any = pkgutil.resolve_name(name)
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, timeout=10, command_timeout=10)
    try:
        yield connection
    finally:
        await connection.close(timeout=10)


@asynccontextmanager
async def _somebody_waiting_for_a_lock(url: str, holder: asyncpg.Connection) -> AsyncIterator[None]:
    touch = "UPDATE workers SET reaches_broker = true"
    async with _connected(url) as other:
        async with holder.transaction():
            await holder.execute(touch)
            waiting = asyncio.create_task(other.execute(touch))
            is_so = "SELECT cardinality(pg_blocking_pids($1)) > 0"
            await eventually(lambda: holder.fetchval(is_so, other.get_server_pid()), "somebody waits for a lock")
            yield
        await waiting


EXAMPLES = """
INSERT INTO workers (id, queues, types, started_at, expires_at, ticked_at, steady_since, reaches_broker, dead_at)
VALUES
    ('00000000-0000-7000-8000-000000000001', '{default}', '{echo}',
     now() - interval '1 hour', now() + interval '20 s', now(), now() - interval '1 hour', true, NULL),
    ('00000000-0000-7000-8000-000000000002', '{default}', '{echo}',
     now() - interval '1 hour', now() - interval '5 min', now() - interval '5 min', now() - interval '1 hour', true,
     now() - interval '4 min');

INSERT INTO task_types (queue, type, last_offered_at) VALUES ('default', 'echo', now()), ('default', 'gone', now());

INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at, attempt, failures,
                   lost_count, started_at, finished_at, worker_id, lease_token, error)
SELECT id::uuid, 2, 'a task', type, 'default', 'HIGH', status, now() - interval '1 hour', now() - interval '1 min',
       1, 0, lost_count,
       CASE WHEN status <> 'NEW' THEN now() - interval '2 min' END,
       CASE WHEN status IN ('COMPLETED', 'FAILED') THEN now() - interval '1 min' END,
       CASE WHEN status <> 'NEW' THEN '00000000-0000-7000-8000-000000000001'::uuid END,
       CASE WHEN status <> 'NEW' THEN gen_random_uuid() END,
       CASE WHEN status = 'FAILED' THEN '{"code": "handler_error", "message": "no such customer"}'::jsonb END
  FROM (VALUES
    ('01a20f53-28ca-7641-997a-000000000001', 'echo', 'NEW', 0),
    ('01a20f53-28ca-7641-997a-000000000002', 'gone', 'NEW', 0),
    ('01a20f53-28ca-7641-997a-000000000003', 'echo', 'PENDING', 2),
    ('01a20f53-28ca-7641-997a-000000000004', 'echo', 'IN_PROGRESS', 0),
    ('01a20f53-28ca-7641-997a-000000000005', 'echo', 'COMPLETED', 0),
    ('01a20f53-28ca-7641-997a-aacc58a0ba8f', 'echo', 'FAILED', 0)
  ) AS examples (id, type, status, lost_count);

INSERT INTO task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome, error, traceback)
SELECT id, attempt, worker_id, started_at, finished_at, 'FAIL', error, 'Traceback'
  FROM tasks WHERE status = 'FAILED';
"""
"""Something of everything that the runbook's queries ask for."""
