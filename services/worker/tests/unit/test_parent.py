"""The parent of several worker processes, over processes that only say how they end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from task_runtime import ExitCode
from task_worker.exits import LEASE_LOST
from task_worker.processes import parent
from task_worker.processes.parent import Parent
from task_worker.processes.worker_process import exit_code_after_stop


class ScriptedProcess:
    """Ends with one exit code after the other, and then runs until it is stopped."""

    def __init__(self, *codes: int, number: int = 1, drained: int = 0, ignores: frozenset[int] = frozenset()) -> None:
        self.number = number
        self.pid = 100 + number
        self.alive_file = None
        self.signals: list[signal.Signals] = []
        self.is_running_on = asyncio.Event()
        self._codes = list(codes)
        self._drained = drained
        self._ignores = ignores
        self._ended = asyncio.Event()

    async def run(self) -> int:
        if self._codes:
            return self._codes.pop(0)
        self.is_running_on.set()
        await asyncio.Event().wait()
        raise AssertionError

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if number not in self._ignores:
            self._ended.set()

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        await self._ended.wait()
        return self._drained


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a parent until all of its processes run on, or it ends by itself, and stop it; returns its exit code."""
    monkeypatch.setattr(parent, "_LEAVE_SECONDS", 0.0)

    async def one(*processes: Any, hurries: bool = False, drain_seconds: float = 60.0) -> int:
        stop, hurry = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(Parent(processes, drain_seconds).run(stop, hurry))
        steady = asyncio.gather(*(process.is_running_on.wait() for process in processes))
        async with asyncio.timeout(60):
            await asyncio.wait([running, steady], return_when=asyncio.FIRST_COMPLETED)
            steady.cancel()
            stop.set()
            if hurries:
                hurry.set()
            return await running

    return one


@pytest.fixture
def recycled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no process have ended too soon to have been recycled."""
    monkeypatch.setattr(parent, "_RECYCLED_SECONDS", 0.0)


@pytest.mark.usefixtures("recycled")
async def test_one_that_was_recycled_is_started_again_at_once_and_that_is_no_error(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as lines:
        code = await run(ScriptedProcess(0, 0))

    assert [line["event"] for line in lines] == ["worker_process_recycled"] * 2
    assert not caplog.records
    assert code == ExitCode.OK


async def test_one_that_ends_by_itself_as_soon_as_it_has_begun_counts_as_dead_and_pauses(
    run: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    await run(ScriptedProcess(0))

    (record,) = caplog.records
    assert record.msg == "loop_died"
    assert "process 1 (pid 101) ended by exit code 0 after 0.0 s" in str(record.exc_info)


async def test_one_that_cannot_start_as_it_is_set_up_stops_the_others_and_is_the_exit_code(
    run: Callable[..., Any],
) -> None:
    fine = ScriptedProcess(number=2, drained=LEASE_LOST)
    code = await run(ScriptedProcess(2), fine)

    assert code == ExitCode.MISCONFIGURED
    assert fine.signals == [signal.SIGTERM]


async def test_the_highest_exit_code_of_a_drain_is_that_of_the_parent(run: Callable[..., Any]) -> None:
    assert await run(ScriptedProcess(), ScriptedProcess(number=2, drained=LEASE_LOST)) == LEASE_LOST


async def test_a_second_request_is_passed_on_as_another_signal(run: Callable[..., Any]) -> None:
    slow = ScriptedProcess(ignores=frozenset({signal.SIGTERM}))
    await run(slow, hurries=True)

    assert slow.signals == [signal.SIGTERM, signal.SIGINT]


async def test_one_that_does_not_end_after_its_drain_is_killed(run: Callable[..., Any]) -> None:
    hung = ScriptedProcess(ignores=frozenset({signal.SIGTERM}), drained=137)

    assert await run(hung, drain_seconds=0.01) == 137
    assert hung.signals == [signal.SIGTERM, signal.SIGKILL]


@pytest.mark.parametrize(
    ("code", "told"),
    [(0, 0), (75, 75), (-signal.SIGTERM, 0), (-signal.SIGINT, 0), (-signal.SIGKILL, 137)],
)
def test_a_signal_that_asked_it_to_stop_is_no_failure_and_any_other_is_told_as_a_shell_does(
    code: int, told: int
) -> None:
    assert exit_code_after_stop(code) == told
