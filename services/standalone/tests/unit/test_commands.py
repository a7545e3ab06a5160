from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from task_runtime import ExitCode, Misconfigured
from task_service.commands import run_command
from task_store import DatabaseUnavailableError
from task_store.embedded import NoDatabaseError, ProgramFailedError

pytestmark = pytest.mark.usefixtures("untouched_logging")


def test_what_was_done_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> str:
        return "backed up"

    assert run_command(work) is ExitCode.OK
    assert capsys.readouterr() == ("", "backed up\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoDatabaseError(Path("/data")), ExitCode.MISCONFIGURED),
        (Misconfigured("say --force"), ExitCode.MISCONFIGURED),
        (ProgramFailedError("pg_dump", ("no space on the moon",)), ExitCode.FAILED),
        (DatabaseUnavailableError("it is gone"), ExitCode.FAILED),
        (OSError("no space"), ExitCode.FAILED),
    ],
)
def test_what_went_wrong_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: ExitCode
) -> None:
    async def work() -> str:
        raise error

    assert run_command(work) is code
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_says_that_it_is_not_done(
    capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    async def work() -> str:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()
        return "done"

    assert run_command(work) is ExitCode.FAILED
    assert capsys.readouterr().err == "error: it was stopped before it was done; nothing has changed\n"


def test_what_is_printed_does_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    async def work() -> str:
        return "restored \x1b[2J\u202e\nand more"

    async def fail() -> str:
        raise ProgramFailedError("pg_restore", ("\x1b[2J",))

    run_command(work)
    run_command(fail)

    shown = capsys.readouterr().err
    assert shown.startswith("restored \\u001b[2J\\u202e\nand more\nerror: ")
    assert "\x1b" not in shown
