"""A worker acts only while its lease is valid, and it stops by itself when the lease is over."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from task_contracts import Priority, Task
from task_contracts.testing import a_create
from task_store import Claims, Database, NewTask, Offer, Tasks
from task_store.testing import PrivatePostgres
from task_worker import handler
from task_worker.lease.heartbeat import HUNG, LEASE_LOST

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

LEASE_SECONDS = 3.0


@pytest.fixture
async def private_postgres(
    prepare_database: Callable[[str], Awaitable[None]],
) -> AsyncIterator[PrivatePostgres]:
    """Return a server that a test may freeze."""
    async with PrivatePostgres() as server:
        await prepare_database(server.url())
        yield server
        server.resume()


class Waiting:
    """A handler that waits in its first call, and completes in its second."""

    def __init__(self) -> None:
        self.calls = 0
        self.began = asyncio.Event()
        self.stopped_at = 0.0

        @handler("t")
        async def run() -> int:
            self.calls += 1
            if self.calls == 1:
                self.began.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.stopped_at = time.monotonic()
            return self.calls

        self.function = run


async def row_of(url: str, task_id: UUID) -> dict[str, Any]:
    connection = await asyncpg.connect(url, timeout=10, command_timeout=10)
    try:
        return dict(await connection.fetchrow("SELECT * FROM tasks WHERE id = $1", task_id))
    finally:
        await connection.close(timeout=10)


@pytest.mark.alone
@pytest.mark.private_servers
async def test_a_worker_that_cannot_renew_stops_its_code_in_time_releases_it_and_goes_on(
    private_postgres: PrivatePostgres, start: Start, until: Until
) -> None:
    url, waiting = private_postgres.url(), Waiting()
    async with Database(url) as database:
        task = await Tasks(database).create(NewTask(a_create(), "t"))
    running = await start(waiting.function, url=url, lease_seconds=LEASE_SECONDS)
    worker_id = running.id
    await waiting.began.wait()

    private_postgres.pause()
    paused_at = time.monotonic()
    await until(lambda: waiting.stopped_at)
    # The last renewal was at most one beat earlier, and a sixth of the lease is left before the task may be taken.
    assert waiting.stopped_at - paused_at < LEASE_SECONDS * 5 / 6 + 0.3
    await until(lambda: time.monotonic() - paused_at > LEASE_SECONDS + 0.5)
    private_postgres.resume()

    async def completed() -> Any:
        row = await row_of(url, task.id)
        return row["status"] == "COMPLETED" and row

    row = await until(completed, 20)
    assert (row["result"], row["failures"], row["lost_count"], row["attempt"]) == ("2", 0, 0, 2)
    assert (running.id, running.exit_codes) == (worker_id, [])


@pytest.mark.private_servers
async def test_a_worker_that_is_asked_to_stop_while_the_database_is_away_ends(
    private_postgres: PrivatePostgres, start: Start, until: Until
) -> None:
    go_on = asyncio.Event()

    @handler("t")
    async def run() -> None:
        await go_on.wait()

    url = private_postgres.url()
    async with Database(url) as database:
        for _ in range(20):
            await Tasks(database).create(NewTask(a_create(), "t"))
    running = await start(run, url=url, concurrency=20, drain_seconds=1)
    in_flight = running.worker._in_flight
    await until(lambda: len(in_flight) == 20)

    private_postgres.pause()
    go_on.set()
    await until(lambda: not in_flight.running())
    running.stop.set()

    async with asyncio.timeout(30):
        await running.task
    # Their ends are not recorded; the sweep brings the tasks back.
    assert (len(in_flight), running.exit_codes) == (20, [])


@pytest.mark.alone
@pytest.mark.private_servers
async def test_a_thread_that_goes_on_after_the_lease_ends_the_process(
    private_postgres: PrivatePostgres, start: Start, until: Until
) -> None:
    began, let_go = threading.Event(), threading.Event()

    @handler("t")
    def run() -> str:
        began.set()
        let_go.wait(30)
        return "late"

    url = private_postgres.url()
    async with Database(url) as database:
        task = await Tasks(database).create(NewTask(a_create(), "t"))
    running = await start(run, url=url, lease_seconds=LEASE_SECONDS)
    await until(began.is_set)

    private_postgres.pause()
    paused_at = time.monotonic()
    await until(lambda: running.exit_codes)

    assert time.monotonic() - paused_at < LEASE_SECONDS + 0.5
    assert running.exit_codes == [LEASE_LOST]
    private_postgres.resume()
    row = await row_of(url, task.id)
    assert (row["status"], row["worker_id"]) == ("IN_PROGRESS", running.id)  # no ending was written
    let_go.set()


async def test_a_worker_that_finds_itself_dead_drops_its_attempts_and_goes_on_under_a_new_id(
    start: Start, create: Create, ended: Ended, table: Any, until: Until
) -> None:
    waiting = Waiting()
    running = await start(waiting.function)
    first_id = running.id
    task = await create("t")
    await waiting.began.wait()

    await table.execute("UPDATE workers SET dead_at = statement_timestamp()")

    await until(lambda: running.id not in {None, first_id})
    row = await ended(task.id)
    assert (row["status"], row["result"], row["worker_id"]) == ("COMPLETED", 2, running.id)
    assert (row["lost_count"], row["failures"]) == (1, 0)
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["RESCUE"]
    assert running.exit_codes == []


async def test_a_result_that_comes_after_the_worker_was_found_dead_changes_nothing(
    start: Start, create: Create, ended: Ended, table: Any, until: Until
) -> None:
    began, go_on = threading.Event(), threading.Event()
    calls = []

    @handler("t")
    def run() -> str:
        calls.append(1)
        if len(calls) == 1:
            began.set()
            go_on.wait(30)
            return "the first"
        return "the second"

    running = await start(run, lease_seconds=6)
    first_id = running.id
    task = await create("t")
    await until(began.is_set)
    await table.execute("UPDATE workers SET dead_at = statement_timestamp()")
    await until(lambda: running.id != first_id)
    go_on.set()

    row = await ended(task.id)

    assert (row["status"], row["result"]) == ("COMPLETED", "the second")


async def test_a_claim_that_was_given_up_and_took_place_is_released_by_the_next_heartbeat(
    start: Start, create: Create, ended: Ended, table: Any, database_url: str
) -> None:
    running = await start()
    task = await create("later")
    async with Database(database_url) as database:
        offer = Offer(("default",), {"later": None})
        claims = Claims(database, database, database, offer, dict.fromkeys(Priority, 1))
        (claim,) = (await claims.by_id(running.id, [task.id], uuid4())).claims

    await table.execute("UPDATE tasks SET type = 'echo' WHERE id = $1", task.id)

    row = await ended(task.id)
    assert (row["status"], row["attempt"], row["failures"], row["lost_count"]) == ("COMPLETED", 2, 0, 0)
    assert row["lease_token"] != claim.lease_token
    assert [one["outcome"] for one in await table.attempts(task.id)] == ["RELEASE"]


async def test_an_attempt_that_the_database_no_longer_knows_is_stopped(
    start: Start, create: Create, ended: Ended, table: Any, until: Until
) -> None:
    waiting = Waiting()
    running = await start(waiting.function)
    task = await create("t")
    await waiting.began.wait()

    # As after a failover that lost the claim.
    await table.execute(
        "UPDATE tasks SET status = 'PENDING', lease_token = NULL, worker_id = NULL, started_at = NULL,"
        " dispatched_at = NULL, attempt = 0 WHERE id = $1",
        task.id,
    )

    row = await ended(task.id)
    assert (row["status"], row["result"], row["attempt"]) == ("COMPLETED", 2, 1)
    assert await table.attempts(task.id) == []
    assert running.exit_codes == []


async def test_a_claim_after_a_failover_does_not_run_beside_the_attempt_in_flight(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    overlaps, running_now = [], []
    began = asyncio.Event()

    @handler("t")
    async def run() -> None:
        if running_now:
            overlaps.append(1)
        running_now.append(1)
        began.set()
        try:
            await asyncio.sleep(0 if len(began_again) else 60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # slow to stop
            raise
        finally:
            running_now.pop()

    began_again: list[int] = []
    await start(run, losing=True)
    task = await create("t")
    await began.wait()
    began_again.append(1)
    await table.execute(
        "UPDATE tasks SET status = 'PENDING', lease_token = NULL, worker_id = NULL, started_at = NULL,"
        " due_at = due_at - interval '10 seconds', created_at = created_at - interval '10 seconds' WHERE id = $1",
        task.id,
    )

    async def completed() -> bool:
        return await table.status(task.id) == "COMPLETED"

    await until(completed, 20)
    assert overlaps == []


async def test_a_busy_event_loop_loses_no_lease(start: Start, create: Create, ended: Ended, table: Any) -> None:
    @handler("t")
    async def run() -> str:
        time.sleep(2.5)  # noqa: ASYNC251 # what is tested
        return "done"

    running = await start(run, lease_seconds=1)
    worker_id = running.id
    task = await create("t")

    row = await ended(task.id)

    assert (row["status"], row["attempt"], row["worker_id"]) == ("COMPLETED", 1, worker_id)
    assert [worker["dead_at"] for worker in await table.fetch("SELECT dead_at FROM workers")] == [None]
    assert (running.id, running.exit_codes) == (worker_id, [])


async def test_a_hung_event_loop_ends_the_process_with_its_stacks(
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]], create: Create, table: Any, tmp_path: Path
) -> None:
    handlers = tmp_path / "hangs.py"
    handlers.write_text(
        'from task_worker import handler\n\n@handler("t", timeout_seconds=0.5)\nasync def spin_for_ever() -> None:\n'
        "    while True:\n        pass\n"
    )
    process = await worker_process(handlers, lease_seconds=1, stderr=asyncio.subprocess.PIPE)
    task = await create("t")

    async with asyncio.timeout(60):
        _, written = await process.communicate()

    assert process.returncode == HUNG
    assert b"event_loop_hangs" in written
    assert b"in spin_for_ever" in written
    assert await table.status(task.id) == "IN_PROGRESS"


async def test_a_worker_that_was_frozen_for_two_leases_goes_on_under_a_new_id_and_changes_nothing(
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]],
    start: Start,
    create: Create,
    ended: Ended,
    table: Any,
    until: Until,
    tmp_path: Path,
) -> None:
    handlers = tmp_path / "waits.py"
    handlers.write_text(
        'import asyncio\nfrom task_worker import handler\n\n@handler("t")\nasync def run() -> str:\n'
        '    await asyncio.sleep(3)\n    return "the first"\n'
    )
    process = await worker_process(handlers, lease_seconds=1)
    task = await create("t")
    (frozen,) = await until(lambda: table.fetch("SELECT worker_id FROM tasks WHERE status = 'IN_PROGRESS'"))

    @handler("t")
    async def run() -> str:
        return "the second"

    process.send_signal(signal.SIGSTOP)
    await start(run, lease_seconds=1)
    row = await ended(task.id)
    assert row["result"] == "the second"
    process.send_signal(signal.SIGCONT)

    await until(
        lambda: table.fetch(
            "SELECT 1 FROM workers WHERE id NOT IN ($1, $2) AND dead_at IS NULL", frozen["worker_id"], row["worker_id"]
        )
    )
    assert process.returncode is None
    after = await table.task(task.id)
    assert after == row


@pytest.mark.private_servers
async def test_a_worker_begins_once_the_database_is_there(
    private_postgres: PrivatePostgres, start: Start, until: Until
) -> None:
    await private_postgres.stop(immediate=True)
    starting = asyncio.create_task(start(url=private_postgres.url()))
    await asyncio.sleep(0)
    await private_postgres.start()

    running = await starting

    assert running.id is not None


async def test_row_of_a_worker_says_where_it_runs_and_how_much(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    waiting = Waiting()
    running = await start(waiting.function, concurrency=7, lease_seconds=LEASE_SECONDS)
    await create("t")
    await waiting.began.wait()

    async def renewed() -> Any:
        (row,) = await table.fetch("SELECT * FROM workers WHERE id = $1", running.id)
        return row if row["in_flight"] else None

    row = await until(renewed)

    assert (row["host"], row["pid"], row["version"]) == (socket.gethostname(), os.getpid(), version("task-worker"))
    assert (row["slots"], row["in_flight"], row["lease_seconds"]) == (7, 1, LEASE_SECONDS)
