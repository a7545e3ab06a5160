from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import pytest

from task_runtime import ExitCode, Misconfigured, ProcessSettings, ShutdownSignals, run_process

pytestmark = pytest.mark.usefixtures("untouched_logging")


@pytest.fixture
def settings() -> ProcessSettings:
    return ProcessSettings(database_url="postgresql://h/t", broker_url="memory://", log_format="json", log_level="INFO")


def raising(error: BaseException) -> Any:
    async def main() -> None:
        raise error

    return main


@pytest.mark.parametrize("code", [*ExitCode, 75])
def test_the_main_coroutine_names_the_exit_code(settings: ProcessSettings, code: int) -> None:
    async def main() -> int:
        return code

    assert run_process(main, settings) == code


def test_a_process_that_just_ends_is_fine(settings: ProcessSettings) -> None:
    async def main() -> None:
        return

    assert run_process(main, settings) is ExitCode.OK


def test_misconfiguration_does_not_steer_a_terminal(
    settings: ProcessSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    run_process(raising(Misconfigured("--handlers: \x1b[2J\u202e")), settings)

    assert capsys.readouterr().err == "error: --handlers: \\u001b[2J\\u202e\n"


def test_misconfiguration_is_one_line_and_no_traceback(
    settings: ProcessSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_process(raising(Misconfigured("the schema is older than the code: run task-migrate")), settings)

    assert code is ExitCode.MISCONFIGURED
    assert capsys.readouterr().err == "error: the schema is older than the code: run task-migrate\n"


def test_misconfiguration_in_a_group_of_tasks_is_understood(
    settings: ProcessSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(raising(Misconfigured("no handler"))())

    assert run_process(main, settings) is ExitCode.MISCONFIGURED
    assert capsys.readouterr().err == "error: no handler\n"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        asyncio.CancelledError("broken"),
        ExceptionGroup("two", [Misconfigured("one"), ValueError("broken")]),
    ],
)
def test_anything_else_is_logged_and_fails(
    settings: ProcessSettings, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    code = run_process(raising(error), settings)

    (line,) = capsys.readouterr().err.splitlines()
    assert code is ExitCode.FAILED
    assert '"event": "process_failed"' in line
    assert "broken" in line


def test_being_interrupted_is_being_asked_to_stop(settings: ProcessSettings) -> None:
    assert run_process(raising(KeyboardInterrupt()), settings) is ExitCode.OK


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist there")
def test_the_loop_is_uvloop(settings: ProcessSettings) -> None:
    loops: list[str] = []

    async def main() -> None:
        loops.append(type(asyncio.get_running_loop()).__module__)

    run_process(main, settings)

    assert loops == ["uvloop"]


def test_a_process_runs_without_uvloop_where_there_is_none(
    settings: ProcessSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert run_process(raising(Misconfigured("x")), settings) is ExitCode.MISCONFIGURED


async def leaves() -> None:
    sys.exit(3)


async def interrupts() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("has_uvloop", [True, False])
@pytest.mark.parametrize(
    "stop",
    [
        lambda loop: loop.stop(),
        lambda loop: loop.call_soon(sys.exit, 3),
        lambda loop: loop.create_task(leaves()),
        lambda loop: loop.create_task(interrupts()),
    ],
    ids=["stop", "exit in a callback", "exit in a task", "interrupt in a task"],
)
def test_code_that_stops_the_loop_does_not_end_the_process(
    settings: ProcessSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stop: Any,
    *,
    has_uvloop: bool,
) -> None:
    if not has_uvloop:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = []

    async def main() -> ExitCode:
        with ShutdownSignals():
            for _ in range(3):
                stop(asyncio.get_running_loop())
                await asyncio.sleep(0.01)
            ended.append(await asyncio.to_thread(int, "7"))
        return ExitCode.MISCONFIGURED

    assert run_process(main, settings) is ExitCode.MISCONFIGURED
    gc.collect()  # asyncio tells of the error of a task when it is collected, and that must not be in another test
    assert ended == [7]
    assert capsys.readouterr().err.count('"event": "event_loop_stopped"') == 3


def test_a_main_coroutine_that_exits_does_end_it(settings: ProcessSettings) -> None:
    with pytest.raises(SystemExit, match="3"):
        run_process(leaves, settings)


def test_what_was_imported_is_left_out_of_collections_which_come_seldom(
    settings: ProcessSettings, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(gc.unfreeze)
    request.addfinalizer(lambda: gc.set_threshold(*before))
    before = gc.get_threshold()

    async def main() -> None:
        seen.append((gc.get_freeze_count() > 0, gc.get_threshold()[0]))

    seen: list[tuple[bool, int]] = []
    run_process(main, settings)

    assert seen == [(True, 50_000)]
