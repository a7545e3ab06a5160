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


async def test_an_error_of_our_own_while_closing_does_not_end_the_tries(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = asyncio.Semaphore(0)

    async def fail(_: BrokerConnection) -> None:
        tries.release()
        raise KeyError("a bug")

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
