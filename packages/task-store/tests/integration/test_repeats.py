"""Creates with a key: of any number of requests with one key, in any number of processes, one creates."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from task_contracts import SortOrder, TaskStatus, TaskSummary, limits
from task_store import (
    ContentionError,
    Created,
    CreatedBatch,
    Database,
    KeyExpiredError,
    KeyMismatchError,
    NewTask,
    RequestKey,
    StoreError,
    TaskFilter,
    Tasks,
    UnstorableValuesError,
    Workers,
)
from task_store._creations import _columns, _Creation, _key_columns
from task_store._statements import create, pages
from task_store.testing import Table

NewTasks = Callable[..., NewTask]
LONG_AGO = {name: timedelta(days=-3) for name in ("created_at", "started_at", "finished_at")}


def request(key: str = "order-42", body: str = "this") -> RequestKey:
    return RequestKey(key, sha256(body.encode()).digest())


@pytest.fixture
def batch(new_task: NewTasks) -> list[NewTask]:
    return [new_task(name=f"task {n}", payload={"n": n}) for n in range(30)]


@pytest.fixture
def other_tasks(other_database: Database) -> Tasks:
    """The store as another process has it."""
    return Tasks(other_database)


class Between:
    """Runs something once after each of the first statements of a kind."""

    def __init__(self, database: Database, statement: Any, *then: Callable[[], Awaitable[Any]]) -> None:
        self._database = database
        self._statement = statement
        self._then = deque(then)

    async def fetch(self, statement: Any, values: Any) -> Sequence[dict[str, Any]]:
        rows = await self._database.fetch(statement, values)
        if statement is self._statement and self._then:
            await self._then.popleft()()
        return rows


def tasks_with(between: Between) -> Tasks:
    return Tasks(between)  # type: ignore[arg-type] # the call that is used


async def test_repeat_gets_the_task_as_it_is_now(tasks: Tasks, new_task: NewTasks) -> None:
    new = new_task(payload={"n": 1}, description="why")

    first = await tasks.create_keyed(new, request())
    await tasks.cancel(first.task.id)
    again = await tasks.create_keyed(new, request())

    assert (first.is_replay, again.is_replay) == (False, True)
    assert again.task == await tasks.get(first.task.id)
    assert again.task.status is TaskStatus.CANCELLED


async def test_new_task_with_a_key_comes_back_as_one_without(tasks: Tasks, new_task: NewTasks) -> None:
    created = await tasks.create_keyed(new_task(payload={"n": 1}, labels={"a": "b"}), request())

    assert created == Created(await tasks.get(created.task.id), is_replay=False)


async def test_same_key_with_another_hash_is_refused_and_stores_nothing(
    tasks: Tasks, new_task: NewTasks, table: Table
) -> None:
    await tasks.create_keyed(new_task(), request(body="this"))

    with pytest.raises(KeyMismatchError):
        await tasks.create_keyed(new_task(), request(body="that"))

    assert await table.count("NEW") == 1


async def test_same_key_in_another_scope_is_another_key(tasks: Tasks, new_task: NewTasks) -> None:
    hashed = request().request_hash

    created = [await tasks.create_keyed(new_task(), RequestKey("k", hashed, scope)) for scope in ("", "a", "b", "a")]

    assert [one.is_replay for one in created] == [False, False, False, True]


async def test_of_fifty_calls_with_one_key_in_two_processes_one_creates(
    tasks: Tasks, other_tasks: Tasks, new_task: NewTasks, table: Table
) -> None:
    stores = [tasks, other_tasks] * 25

    created = await asyncio.gather(*(store.create_keyed(new_task(), request()) for store in stores))

    assert [one.is_replay for one in created].count(False) == 1
    assert len({one.task.id for one in created}) == 1
    assert await table.count("NEW") == 1


async def test_statements_that_insert_the_same_keys_at_once_never_deadlock(
    database: Database, other_database: Database, new_task: NewTasks, table: Table
) -> None:
    for turn in range(20):
        batch = [_Creation.of(uuid7(), new_task(), request(f"{turn}-{n}")) for n in range(300)]
        back = [replace(one, id=uuid7()) for one in reversed(batch)]

        # Past the store, which would repeat after a deadlock.
        stored = await asyncio.gather(
            *(
                connections.fetch(create.CREATE_KEYED, _columns(ones) | _key_columns(ones))
                for connections, ones in ((database, batch), (other_database, back))
            )
        )

        assert sum(map(len, stored)) == len(batch)

    assert await table.count("NEW") == 20 * 300


async def test_refused_create_with_a_key_fails_alone(tasks: Tasks, new_task: NewTasks, table: Table) -> None:
    good, bad = new_task(), new_task()
    bad.asked.labels["nul"] = "\x00"  # past the gate
    calls = [(good, request("a")), (bad, request("b")), (good, request("c")), (good, request("a"))]

    outcomes = await asyncio.gather(*(tasks.create_keyed(*call) for call in calls), return_exceptions=True)

    assert isinstance(outcomes[1], UnstorableValuesError)
    assert outcomes[0].task.id == outcomes[3].task.id
    assert await table.count("NEW") == 2


INSERT = (
    "INSERT INTO tasks (id, name, type, queue, payload_bytes, priority, status, created_at, due_at,"
    " idempotency_key, request_hash) VALUES (gen_random_uuid(), 'first', 'echo', 'default', 2, 'LOW', 'NEW', now(),"
    " now(), $1, $2)"
)


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("is_batch", [False, True], ids=["a task", "a batch"])
async def test_second_of_two_waits_for_the_first_and_creates_if_that_rolls_back(
    ends: str,
    is_batch: bool,
    tasks: Tasks,
    new_task: NewTasks,
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    waiting_for_lock: Callable[[], Awaitable[None]],
    table: Table,
) -> None:
    connection = await connect()
    first = connection.transaction()
    await first.start()
    await connection.execute(INSERT, request().key, request().request_hash)
    call = tasks.create_batch([new_task()], request()) if is_batch else tasks.create_keyed(new_task(), request())
    second = asyncio.create_task(call)
    await waiting_for_lock()

    await getattr(first, ends)()

    assert (await second).is_replay == (ends == "commit")
    assert await table.count("NEW") == 1


async def test_insert_that_waits_for_another_process_keeps_no_create_without_a_key_waiting(
    tasks: Tasks,
    new_task: NewTasks,
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    waiting_for_lock: Callable[[], Awaitable[None]],
) -> None:
    connection = await connect()
    async with connection.transaction():
        await connection.execute(INSERT, request().key, request().request_hash)
        keyed = asyncio.create_task(tasks.create_keyed(new_task(), request()))
        await waiting_for_lock()

        await tasks.create(new_task())

        assert not keyed.done()
    await keyed


@pytest.mark.parametrize("is_batch", [False, True], ids=["a task", "a batch"])
@pytest.mark.parametrize("purges", [1, 2, 3])
async def test_task_that_is_purged_before_it_is_read_is_created_anew_and_after_three_times_given_up(
    purges: int, is_batch: bool, database: Database, new_task: NewTasks, table: Table
) -> None:
    async def purge() -> None:
        await table.execute("DELETE FROM tasks")

    async def put() -> None:
        await table.put(idempotency_key=request().key, request_hash=request().request_hash)

    # Another process's row: there at each INSERT, purged before it is read.
    insert, read = (create.CREATE_BATCH, pages.GET_BATCH) if is_batch else (create.CREATE_KEYED, pages.GET_BY_KEY)
    after_read = Between(database, read, *[put] * (purges - 1))
    tasks = tasks_with(Between(after_read, insert, *[purge] * purges))  # type: ignore[arg-type] # as above
    await put()

    call = tasks.create_batch([new_task()], request()) if is_batch else tasks.create_keyed(new_task(), request())

    if purges == 3:
        with pytest.raises(ContentionError):
            await call
    else:
        assert not (await call).is_replay
        assert await table.count("NEW") == 1


async def test_batch_is_stored_in_its_order_and_listed_by_its_key(
    tasks: Tasks, batch: list[NewTask], new_task: NewTasks
) -> None:
    for neighbour in ("order-4", "order-42!", "order-421", "order-42-2", "order"):
        await tasks.create_keyed(new_task(), request(neighbour))

    created = await tasks.create_batch(batch, request())

    assert not created.is_replay
    assert [item.name for item in created.items] == [new.asked.name for new in batch]
    oldest = TaskFilter(idempotency_key="order-42", order=SortOrder.OLDEST)
    assert (await tasks.page(oldest, items=200)).items == created.items
    newest = await tasks.page(TaskFilter(idempotency_key="order-42"), items=200)
    assert newest.items == created.items[::-1]
    assert (await tasks.total(oldest)).count == len(batch)
    assert await tasks.get(created.items[7].id) is not None
    assert (await tasks.get(created.items[7].id)).payload == {"n": 7}  # type: ignore[union-attr] # it is there


async def test_pages_of_a_key_lead_to_all_of_a_batch(tasks: Tasks, batch: list[NewTask]) -> None:
    created = await tasks.create_batch(batch, request())

    found: list[TaskSummary] = []
    after = None
    while not found or after is not None:
        wanted = TaskFilter(idempotency_key="order-42", order=SortOrder.OLDEST, after=after)
        page = await tasks.page(wanted, items=7)
        found += page.items
        after = page.next_after

    assert tuple(found) == created.items


async def test_repeated_batch_gets_its_items_as_they_are_now(tasks: Tasks, batch: list[NewTask], table: Table) -> None:
    created = await tasks.create_batch(batch, request())
    await tasks.cancel(created.items[3].id)

    again = await tasks.create_batch(batch, request())

    assert again.is_replay
    assert [item.id for item in again.items] == [item.id for item in created.items]
    assert again.items[3].status is TaskStatus.CANCELLED
    assert await table.count("NEW", "CANCELLED") == len(batch)


async def test_batch_without_a_key_is_created_at_each_call(tasks: Tasks, batch: list[NewTask], table: Table) -> None:
    created = [await tasks.create_batch(batch) for _ in range(2)]

    assert [one.is_replay for one in created] == [False, False]
    assert await table.count("NEW") == 2 * len(batch)


async def test_largest_batch_fits_its_keys(tasks: Tasks, new_task: NewTasks) -> None:
    longest = request("k" * limits.IDEMPOTENCY_KEY_CHARS)

    created = await tasks.create_batch([new_task()] * limits.BATCH_TASKS_MAX, longest)
    again = await tasks.create_batch([new_task()] * limits.BATCH_TASKS_MAX, longest)

    assert len({item.id for item in created.items}) == limits.BATCH_TASKS_MAX
    assert again == CreatedBatch(created.items, is_replay=True)


async def test_one_bad_task_keeps_its_whole_batch_out(tasks: Tasks, batch: list[NewTask], table: Table) -> None:
    batch[17].asked.labels["nul"] = "\x00"  # past the gate

    with pytest.raises(UnstorableValuesError):
        await tasks.create_batch(batch, request())

    assert await table.count("NEW") == 0


async def test_batches_with_one_key_at_once_are_created_once(
    tasks: Tasks, other_tasks: Tasks, batch: list[NewTask], table: Table
) -> None:
    for turn in range(20):
        key = request(f"turn-{turn}")

        created = await asyncio.gather(*(store.create_batch(batch, key) for store in (tasks, other_tasks) * 2))

        assert [one.is_replay for one in created].count(False) == 1
        assert len({tuple(item.id for item in one.items) for one in created}) == 1

    assert await table.count("NEW") == 20 * len(batch)


@pytest.mark.parametrize("is_batch_first", [True, False])
async def test_key_of_one_call_is_refused_by_the_other(
    is_batch_first: bool, tasks: Tasks, batch: list[NewTask], new_task: NewTasks, table: Table
) -> None:
    calls = [
        lambda: tasks.create_batch(batch, request(body="a batch")),
        lambda: tasks.create_keyed(new_task(), request(body="a task")),
    ]
    first, second = calls if is_batch_first else reversed(calls)
    await first()

    with pytest.raises(KeyMismatchError):
        await second()

    assert await table.count("NEW") == (len(batch) if is_batch_first else 1)


async def test_batch_and_task_with_one_key_at_once_have_one_winner(
    tasks: Tasks, other_tasks: Tasks, batch: list[NewTask], new_task: NewTasks
) -> None:
    for turn in range(50):
        key = f"turn-{turn}"

        outcomes = await asyncio.gather(
            tasks.create_batch(batch, request(key, "a batch")),
            other_tasks.create_keyed(new_task(), request(key, "a task")),
            return_exceptions=True,
        )

        assert [type(outcome) for outcome in outcomes].count(KeyMismatchError) == 1


@pytest.mark.parametrize("purged", [0, 17], ids=["its first task", "another one"])
@pytest.mark.parametrize("body", ["this", "that"])
async def test_repeat_of_a_partly_purged_batch_is_refused_and_stores_nothing(
    purged: int, body: str, tasks: Tasks, batch: list[NewTask], table: Table
) -> None:
    created = await tasks.create_batch(batch, request(body="this"))
    await table.execute("DELETE FROM tasks WHERE id = $1", created.items[purged].id)
    expected: type[StoreError] = KeyExpiredError if body == "this" else KeyMismatchError

    with pytest.raises(expected):
        await tasks.create_batch(batch, request(body=body))

    assert await table.count("NEW") == len(batch) - 1


async def test_batch_that_meets_a_deadlock_is_repeated_once(database: Database, batch: list[NewTask]) -> None:
    tried: list[Any] = []

    class InTheWay:
        async def fetch(self, statement: Any, values: Any) -> Any:
            tried.append(values["id"])
            if len(tried) == 1:
                raise ContentionError("a deadlock")
            return await database.fetch(statement, values)

    created = await Tasks(InTheWay()).create_batch(batch)  # type: ignore[arg-type] # as above

    assert [item.id for item in created.items] == tried[0] == tried[1]


async def test_two_batches_are_stored_at_once_and_the_third_waits(database: Database, batch: list[NewTask]) -> None:
    running: list[asyncio.Event] = []
    began = asyncio.Semaphore(0)

    class Held:
        async def fetch(self, statement: Any, values: Any) -> Any:
            running.append(asyncio.Event())
            began.release()
            await running[-1].wait()
            return await database.fetch(statement, values)

    tasks = Tasks(Held())  # type: ignore[arg-type] # as above
    calls = [asyncio.create_task(tasks.create_batch(batch)) for _ in range(3)]
    for _ in range(2):
        await began.acquire()
    await asyncio.sleep(0)

    assert len(running) == 2
    running[0].set()
    await began.acquire()
    for one in running:
        one.set()
    await asyncio.gather(*calls)


@pytest.mark.parametrize(
    ("columns", "purged"),
    [
        ({"idempotency_key": "k", "request_hash": bytes(32)}, 0),
        ({}, 1),
        ({"idempotency_key": "k", "request_hash": bytes(32), **LONG_AGO}, 1),
    ],
    ids=["a fresh one with a key", "a fresh one without", "an old one with a key"],
)
async def test_purge_spares_a_task_with_a_key_for_a_day(
    columns: dict[str, Any], purged: int, workers: Workers, table: Table, purge: Any
) -> None:
    await table.put("COMPLETED", **columns)

    assert await purge(workers, timedelta(minutes=1)) == purged


@pytest.mark.parametrize("key", [None, request()])
async def test_batch_tells_all_its_tasks_once(database: Database, new_task: NewTasks, key: RequestKey | None) -> None:
    told: list[list[UUID]] = []

    async with Database(database.url, on_changed=told.append) as telling:
        created = await Tasks(telling).create_batch([new_task() for _ in range(5)], key)
        if key is not None:
            assert (await Tasks(telling).create_batch([new_task() for _ in range(5)], key)).is_replay

    assert [sorted(ids) for ids in told] == [[task.id for task in created.items]]
