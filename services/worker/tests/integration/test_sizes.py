"""Large payloads, many types, and tasks that no statement can take: they run, and keep no other task waiting."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from task_contracts import Task
from task_worker import handler

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]
Start = Callable[..., Awaitable[Any]]
Until = Callable[..., Awaitable[Any]]

SLOW_CLAIM = """
CREATE FUNCTION claim_slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(20);
    RETURN NEW;
END $$;
CREATE TRIGGER slow_claim BEFORE UPDATE ON tasks FOR EACH ROW
WHEN (NEW.status = 'IN_PROGRESS' AND NEW.name = 'culprit') EXECUTE FUNCTION claim_slowly();
"""


def megabyte() -> str:
    """Return text that no compression makes smaller."""
    return "".join(random.choices(string.ascii_letters + string.digits, k=(1 << 20) - 100))


def nothing_of(*names: str) -> list[Callable[..., Any]]:
    """Make handlers that only take their payload."""

    def one(name: str) -> Callable[..., Any]:
        @handler(name)
        async def run(payload: dict[str, Any]) -> None:
            del payload

        return run

    return [one(name) for name in names]


async def create_all(create: Create, count: int, **fields: Any) -> None:
    for _ in range(count):  # one after the other: what is large must not wait for what is large
        await create("t", **fields)


async def completed(table: Any, count: int) -> bool:
    return bool(await table.count("COMPLETED") == count)


@pytest.mark.parametrize("connected", [True, False])
async def test_tasks_whose_numbers_are_long_hinder_nobody(
    start: Start, create: Create, ended: Ended, table: Any, until: Until, connected: bool
) -> None:
    await create_all(create, 60, payload={"x": [1e308] * 19_990})
    innocent = await create("t", priority="HIGH")
    await start(*nothing_of("t"), connected=connected, concurrency=50)

    assert (await ended(innocent.id, 10))["status"] == "COMPLETED"
    await until(lambda: completed(table, 61), 30)


@pytest.mark.parametrize("connected", [True, False])
async def test_tasks_of_a_megabyte_each_hinder_nobody(
    start: Start, create: Create, ended: Ended, table: Any, until: Until, connected: bool
) -> None:
    await create_all(create, 40, payload={"text": megabyte()})
    innocent = await create("t", priority="HIGH")
    await start(*nothing_of("t"), connected=connected, concurrency=50)

    assert (await ended(innocent.id, 10))["status"] == "COMPLETED"
    await until(lambda: completed(table, 41), 30)


async def test_without_a_broker_many_types_are_no_trouble(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    names = [f"type{number}" for number in range(100)]
    await asyncio.gather(*(create(name, priority=priority) for name in names for priority in ("LOW", "HIGH")))

    await start(*nothing_of(*names), connected=False, concurrency=50)

    await until(lambda: completed(table, 200), 30)


async def test_without_a_broker_a_thousand_slots_are_no_trouble(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    await asyncio.gather(*(create("t") for _ in range(2_000)))

    await start(*nothing_of("t"), connected=False, concurrency=1000)

    await until(lambda: completed(table, 2_000), 30)


@pytest.mark.parametrize("connected", [True, False])
async def test_task_that_no_claim_can_take_rests_and_the_others_run(
    start: Start, create: Create, table: Any, until: Until, caplog: pytest.LogCaptureFixture, connected: bool
) -> None:
    await table.execute(SLOW_CLAIM)
    culprit = await create("t", name="culprit", priority="HIGH")
    await asyncio.gather(*(create("t") for _ in range(30)))
    await start(*nothing_of("t"), connected=connected)

    await until(lambda: completed(table, 30), 90)
    await until(lambda: "task_rests" in caplog.text, 60)
    await asyncio.gather(*(create("t") for _ in range(5)))
    await until(lambda: completed(table, 35), 30)

    assert await table.status(culprit.id) != "COMPLETED"


async def test_payloads_in_flight_are_bounded_by_their_size(
    start: Start, create: Create, table: Any, until: Until
) -> None:
    running: list[int] = []
    most: list[int] = []

    @handler("t")
    async def hold(payload: dict[str, Any]) -> None:
        running.append(len(payload["text"]))
        most.append(len(running))
        await asyncio.sleep(0.05)
        running.pop()

    await create_all(create, 12, payload={"text": megabyte()})
    await start(hold, concurrency=12, max_payload_mb=2)

    await until(lambda: completed(table, 12), 30)

    assert max(most) <= 3
