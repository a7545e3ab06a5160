from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from task_contracts import BackOff
from task_runtime import LoopKeepsDyingError, RestartPolicy, Supervisor

NO_PAUSE = BackOff(first_seconds=1e-6, longest_seconds=1e-6)
AT_ONCE = RestartPolicy(back_off=NO_PAUSE)
DEADLINE_SECONDS = 5


class FailingLoop:
    """A loop that raises one of these errors in each run, and after the last one runs until it is cancelled."""

    def __init__(self, *deaths: BaseException) -> None:
        self.deaths = list(deaths)
        self.runs = 0
        self.alive = asyncio.Event()
        self.cancelled = False

    async def __call__(self) -> None:
        self.runs += 1
        if self.deaths:
            raise self.deaths.pop(0)
        self.alive.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """A supervisor that restarts without a pause; it is closed after the test."""
    supervisor = Supervisor(AT_ONCE)
    yield supervisor
    await supervisor.aclose()


async def test_a_loop_that_dies_is_logged_with_its_traceback_and_runs_again(
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    failing = FailingLoop(ValueError("one"), KeyError("two"))

    supervisor.start("failing", failing, forever=True)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await failing.alive.wait()

    assert failing.runs == 3
    records = [record for record in caplog.records if record.message == "loop_died"]
    assert [record.levelno for record in records] == [logging.ERROR] * 2
    assert [record.exc_info and record.exc_info[0] for record in records] == [ValueError, KeyError]
    assert records[0].__dict__["loop"] == "failing"


async def test_a_cancellation_that_nobody_asked_for_is_a_death(supervisor: Supervisor) -> None:
    failing = FailingLoop(asyncio.CancelledError())

    supervisor.start("failing", failing)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await failing.alive.wait()

    assert failing.runs == 2
    assert not failing.cancelled


async def test_a_loop_whose_task_somebody_cancels_ends_the_process(supervisor: Supervisor) -> None:
    supervisor.start("mine", asyncio.Event().wait, forever=True)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "mine"]
    await asyncio.sleep(0)

    task.cancel()

    async with asyncio.timeout(5):
        with pytest.raises(LoopKeepsDyingError, match="the loop mine was cancelled"):
            await supervisor.wait()


async def test_closing_cancels_every_loop_and_starts_none_again(supervisor: Supervisor) -> None:
    loops = [FailingLoop(), FailingLoop()]
    for number, failing in enumerate(loops):
        supervisor.start(f"failing {number}", failing, forever=True)
    async with asyncio.timeout(DEADLINE_SECONDS):
        for failing in loops:
            await failing.alive.wait()
        waiting = asyncio.create_task(supervisor.wait())

        await supervisor.aclose()
        await waiting

    assert all(failing.cancelled and failing.runs == 1 for failing in loops)
    await supervisor.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        supervisor.start("late", FailingLoop())


async def test_closing_ends_a_loop_that_waits_to_be_started_again() -> None:
    supervisor = Supervisor(RestartPolicy(back_off=BackOff(first_seconds=3600, longest_seconds=3600)))
    died = asyncio.Event()

    async def die() -> None:
        died.set()
        raise ValueError

    supervisor.start("failing", die)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await died.wait()
        await supervisor.aclose()


async def test_a_loop_that_fails_while_it_is_cancelled_is_not_started_again(supervisor: Supervisor) -> None:
    alive = asyncio.Event()
    runs = 0

    async def fail_to_stop() -> None:
        nonlocal runs
        runs += 1
        alive.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while cleaning up")

    supervisor.start("failing", fail_to_stop)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await alive.wait()
        await supervisor.aclose()

    assert runs == 1


async def test_closing_does_not_wait_for_ever_for_a_loop_that_will_not_end(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    alive, enough = asyncio.Event(), asyncio.Event()

    async def refuse() -> None:
        alive.set()
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                continue

    supervisor.start("stubborn", refuse)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await alive.wait()
        await supervisor.aclose(deadline_seconds=0.01)
        assert [record.message for record in caplog.records] == ["loop_did_not_stop"]

        enough.set()
        await supervisor.wait()


async def test_a_loop_that_returns_has_finished(supervisor: Supervisor) -> None:
    async def finish() -> None:
        return

    supervisor.start("short", finish)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await supervisor.wait()


async def test_a_loop_that_is_meant_to_run_forever_has_died_when_it_returns() -> None:
    supervisor = Supervisor(RestartPolicy(back_off=NO_PAUSE, deaths_max=3))
    runs = 0

    async def finish() -> None:
        nonlocal runs
        runs += 1

    supervisor.start("short", finish, forever=True)

    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(LoopKeepsDyingError, match="the loop short died 3 times") as caught:
            await supervisor.wait()
    assert runs == 3
    assert caught.value.name == "short"


async def test_a_loop_that_keeps_dying_ends_the_waiting_while_the_others_run(supervisor: Supervisor) -> None:
    healthy, sick = FailingLoop(), FailingLoop(*[ValueError("again")] * 100)
    supervisor.start("healthy", healthy, forever=True)

    supervisor.start("sick", sick, forever=True)

    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(LoopKeepsDyingError) as caught:
            await supervisor.wait()
    assert sick.runs == 10
    assert isinstance(caught.value.__cause__, ValueError)
    assert not healthy.cancelled
    await supervisor.aclose()
    assert healthy.cancelled


@pytest.mark.parametrize(
    "policy",
    [
        RestartPolicy(back_off=NO_PAUSE, deaths_max=3, steady_seconds=0),
        RestartPolicy(back_off=NO_PAUSE, deaths_max=3, window_seconds=-1),
    ],
    ids=["each run was steady", "the deaths lie far apart"],
)
async def test_rare_deaths_do_not_end_the_process(policy: RestartPolicy) -> None:
    supervisor = Supervisor(policy)
    failing = FailingLoop(*[ValueError("again")] * 10)

    supervisor.start("failing", failing)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await failing.alive.wait()
        await supervisor.aclose()
    assert failing.runs == 11


async def test_cancelling_the_wait_leaves_the_loops_alone(supervisor: Supervisor) -> None:
    failing = FailingLoop()
    supervisor.start("failing", failing)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await failing.alive.wait()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(supervisor.wait(), 0.01)

    assert not failing.cancelled


def test_pauses_double_from_a_tenth_of_a_second_to_five_seconds() -> None:
    pauses = [RestartPolicy().back_off.pause_seconds(deaths) for deaths in (1, 2, 3, 6, 7, 10, 10_000)]

    assert pauses == pytest.approx([0.1, 0.2, 0.4, 3.2, 5, 5, 5])
