from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time

import pytest

from task_runtime import ShutdownSignals

SECONDS = 30


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_forked_child_has_the_default_handling(number: signal.Signals) -> None:
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(SECONDS,))
    with ShutdownSignals() as signals:
        child.start()
        assert child.pid is not None
        os.kill(child.pid, number)
        await asyncio.to_thread(child.join, SECONDS / 2)
        is_alive = child.is_alive()
        child.kill()

        assert not is_alive
        assert not signals.stop.is_set()
        assert signal.getsignal(number) == signals._on_signal


async def test_a_forked_child_keeps_the_handler_that_code_has_set_itself() -> None:
    with ShutdownSignals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
        )
        child.start()
        await asyncio.to_thread(child.join, SECONDS)

    assert child.exitcode == 1


async def test_a_handler_that_code_has_replaced_is_put_back(caplog: pytest.LogCaptureFixture) -> None:
    with ShutdownSignals() as signals:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signals.put_back()
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(SECONDS):
            await signals.stop.wait()

    assert [record.message for record in caplog.records] == ["signal_handler_put_back"]
