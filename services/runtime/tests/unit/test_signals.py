from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest

from task_runtime import ShutdownSignals

SECONDS = 30
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def hang_ups() -> Iterator[None]:
    """Handle SIGHUP as by default, even if these tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_first_signal_asks_to_stop_and_the_second_to_hurry(number: signal.Signals) -> None:
    async with asyncio.timeout(5):
        with ShutdownSignals() as signals:
            signal.raise_signal(number)
            await signals.stop.wait()
            assert not signals.hurry.is_set()

            signal.raise_signal(signal.SIGTERM)
            await signals.hurry.wait()
            signal.raise_signal(signal.SIGTERM)


async def test_a_terminal_that_closes_asks_to_stop_however_often_it_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with asyncio.timeout(SECONDS):
        with ShutdownSignals() as signals:
            signal.raise_signal(signal.SIGHUP)
            await signals.stop.wait()
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0)  # the loop takes note of it

            assert len(caplog.records) == 2
            assert not signals.hurry.is_set()


async def test_under_nohup_a_closed_terminal_is_still_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with ShutdownSignals() as signals:
        signals.put_back()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


async def test_the_handlers_that_were_there_are_there_again() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    with ShutdownSignals():
        assert signal.getsignal(signal.SIGTERM) is not before[0]

    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("number", SIGNALS)
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


async def test_ctrl_c_says_what_is_waited_for_and_how_not_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with asyncio.timeout(SECONDS):
        with ShutdownSignals("requests under way") as signals:
            signal.raise_signal(signal.SIGINT)
            await signals.stop.wait()
            signal.raise_signal(signal.SIGINT)
            await signals.hurry.wait()

    assert [vars(record).get("hint") for record in caplog.records] == [
        "requests under way may finish; Ctrl-C again does not wait for them",
        "requests under way are not waited for",
    ]


async def test_a_sigterm_speaks_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with ShutdownSignals() as signals:
        signal.raise_signal(signal.SIGTERM)
        await signals.stop.wait()

    assert [vars(record).get("hint") for record in caplog.records] == [None]
