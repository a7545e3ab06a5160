"""docs/transactions.md: each recipe writes its rows and its task, both or neither, and the task runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from harness.pages import Page
from harness.waiting import eventually
from harness.world import World
from task_contracts import TaskCreate

PAGE = Page.read("transactions.md")
RECIPES = {"SQLAlchemy": 0, "asyncpg": 1, "psycopg": 2}
REFUSED = (IntegrityError, asyncpg.UniqueViolationError, psycopg.errors.UniqueViolation)
THEIRS = "//shop:secret@localhost/tasks"
TYPE, OURS = '"invoice.send"', '"echo"'
A_TASK = """SELECT create_task('{"name": "a task", "type": "echo"}')"""

PlaceOrder = Callable[[int], Awaitable[UUID]]


@pytest.fixture
async def sql(world: World) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the program's own. Of two orders with one id, the second is refused when it commits."""
    await world.api()
    connection = await asyncpg.connect(world.database_url, timeout=20, command_timeout=20)
    await connection.execute(
        "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    yield connection
    await connection.close(timeout=20)


@pytest.fixture(params=RECIPES.values(), ids=RECIPES.keys())
def place_order(request: pytest.FixtureRequest, world: World) -> Iterator[PlaceOrder]:
    """The function of a recipe, on the database of this test; a plain one runs in a thread."""
    recipe = PAGE.blocks("python")[request.param]
    said: dict[str, Any] = {}
    assert recipe.count(THEIRS) == recipe.count(TYPE) == 1
    exec(recipe.replace(THEIRS, world.database_url.partition(":")[2]).replace(TYPE, OURS), said)
    place: Callable[[int], Any] = said["place_order"]
    yield place if inspect.iscoroutinefunction(place) else lambda order: asyncio.to_thread(place, order)
    if "engine" in said:
        said["engine"].dispose()


async def test_a_recipe_writes_its_rows_and_a_task_that_runs(
    world: World, sql: asyncpg.Connection, place_order: PlaceOrder
) -> None:
    await world.worker()

    task_id = await place_order(7)

    await world.settle()
    task = await world.tables.task(task_id)
    assert (task["status"], task["name"], task["result"]) == ("COMPLETED", "invoice of order 7", '{"order":7}')
    assert await sql.fetchval("SELECT array_agg(id) FROM shop.orders") == [7]


async def test_where_the_transaction_of_a_recipe_fails_there_is_no_task(
    world: World, sql: asyncpg.Connection, place_order: PlaceOrder
) -> None:
    await sql.execute("INSERT INTO shop.orders VALUES (7)")

    with pytest.raises(REFUSED):
        await place_order(7)

    assert await world.tables.tasks() == []


async def test_every_statement_of_the_page_creates_a_task(sql: asyncpg.Connection) -> None:
    statements = [block for block in PAGE.blocks("sql") if "create_task('" in block]

    for statement in "".join(statements).splitlines():
        assert isinstance(await sql.fetchval(statement), UUID)

    assert await sql.fetchval("SELECT count(*) FROM tasks") == 2


async def test_a_rollback_to_a_savepoint_takes_back_what_was_created_since(
    world: World, sql: asyncpg.Connection
) -> None:
    async with sql.transaction():
        kept = await sql.fetchval(A_TASK)
        inner = sql.transaction()
        await inner.start()
        await sql.fetchval(A_TASK)
        await inner.rollback()

    assert [task["id"] for task in await world.tables.tasks()] == [kept]


async def test_a_task_that_is_refused_ends_its_transaction_as_any_error_does(
    world: World, sql: asyncpg.Connection
) -> None:
    await sql.execute("BEGIN; INSERT INTO shop.orders VALUES (7)")
    with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^max_attempts: must be an integer, 1 to 25"):
        await sql.execute("""SELECT create_task('{"name": "a task", "max_attempts": 26}')""")

    assert await sql.execute("COMMIT") == "ROLLBACK"
    assert await sql.fetchval("SELECT count(*) FROM shop.orders") == 0
    assert await world.tables.tasks() == []


async def test_no_task_runs_before_its_transaction_commits_and_each_does_after_it(
    world: World, sql: asyncpg.Connection, say: Callable[[str], None]
) -> None:
    """Nobody is told of the commit; what others create meanwhile runs."""
    await world.worker()
    async with sql.transaction():
        ids = [await sql.fetchval(A_TASK) for _ in range(20)]
        (other,) = await world.insert([_a_create()])
        await eventually(lambda: _has_ended(world, other), "a task that was created later has run")
        assert [task["id"] for task in await world.tables.tasks()] == [other]

    began = asyncio.get_running_loop().time()
    await world.settle()
    say(f"20 tasks had run {asyncio.get_running_loop().time() - began:.1f} s after the commit")
    assert await world.tables.statuses() == {"COMPLETED": 21}
    assert {task["id"] for task in await world.tables.tasks()} == {other, *ids}


def _a_create() -> TaskCreate:
    return TaskCreate(name="another task", type="echo")


async def _has_ended(world: World, task_id: UUID) -> bool:
    return (await world.tables.task(task_id))["status"] == "COMPLETED"
