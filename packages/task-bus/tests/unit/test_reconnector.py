"""What keeps a connection, at a port where no broker is."""

from __future__ import annotations

import asyncio
import logging

import pytest

from task_bus._rabbit.broker_connection import BrokerConnection
from task_bus._rabbit.reconnector import Reconnector
from task_bus._rabbit.timings import BrokerTimings
from task_contracts import BackOff

NOWHERE = "amqp://guest:guest@127.0.0.1:1/"
HURRIED = BrokerTimings(back_off=BackOff(first_seconds=0.001, longest_seconds=0.001))


async def _set_up_nothing(connection: BrokerConnection) -> None:
    pass


@pytest.mark.parametrize("error", [KeyError("a bug"), asyncio.CancelledError("of a library")])
async def test_whatever_ends_it_but_closing_does_not_end_the_tries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    tries = asyncio.Semaphore(0)

    async def fail(_: BrokerConnection) -> None:
        tries.release()
        raise error

    monkeypatch.setattr(BrokerConnection, "aclose", fail)
    reconnector = Reconnector(NOWHERE, "test", HURRIED, set_up=_set_up_nothing)
    with caplog.at_level(logging.ERROR, "task_bus"):
        reconnector.start()
        async with asyncio.timeout(5):
            for _ in range(3):
                await tries.acquire()
        monkeypatch.undo()
        await reconnector.aclose()

    assert {record.message for record in caplog.records if record.name.startswith("task_bus")} == {
        "broker_connection_error"
    }


async def test_somebody_who_cancels_every_task_does_not_end_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = asyncio.Semaphore(0)

    async def refuse(_: BrokerConnection) -> None:
        tries.release()
        raise ConnectionRefusedError

    monkeypatch.setattr(BrokerConnection, "open", refuse)
    reconnector = Reconnector(NOWHERE, "test", HURRIED, set_up=_set_up_nothing)
    reconnector.start()
    await tries.acquire()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.wait(others)
    while not tries.locked():
        await tries.acquire()

    async with asyncio.timeout(5):
        for _ in range(3):
            await tries.acquire()

    await reconnector.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_task_of_a_connection_that_is_cancelled_fails_the_connection() -> None:
    connection = BrokerConnection(NOWHERE, "test", HURRIED)

    async def be_cancelled_by_a_library() -> None:
        raise asyncio.CancelledError

    connection.run(be_cancelled_by_a_library())

    async with asyncio.timeout(5):
        assert "cancelled" in await connection.failed
