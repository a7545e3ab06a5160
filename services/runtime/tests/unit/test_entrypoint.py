from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from task_runtime import ExitCode, Misconfigured, ProcessSettings, run_process

pytestmark = pytest.mark.usefixtures("untouched_logging")


@pytest.fixture
def settings() -> ProcessSettings:
    return ProcessSettings(database_url="postgresql://h/t", broker_url="memory://", log_format="json", log_level="INFO")


def raising(error: BaseException) -> Any:
    async def main() -> None:
        raise error

    return main


@pytest.mark.parametrize("code", list(ExitCode))
def test_the_main_coroutine_names_the_exit_code(settings: ProcessSettings, code: ExitCode) -> None:
    async def main() -> ExitCode:
        return code

    assert run_process(main, settings) is code


def test_a_process_that_just_ends_is_fine(settings: ProcessSettings) -> None:
    async def main() -> None:
        return

    assert run_process(main, settings) is ExitCode.OK


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
