from __future__ import annotations

import asyncio
import signal

import pytest

from task_runtime import ShutdownSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_to_stop_and_the_second_to_hurry(number: signal.Signals) -> None:
    async with asyncio.timeout(5):
        with ShutdownSignals() as signals:
            signal.raise_signal(number)
            await signals.stop.wait()
            assert not signals.hurry.is_set()

            signal.raise_signal(signal.SIGTERM)
            await signals.hurry.wait()
            signal.raise_signal(signal.SIGTERM)


async def test_the_handlers_that_were_there_are_there_again() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    with ShutdownSignals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]

    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
