from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from pathlib import Path

import psutil
import pytest

from task_store.embedded._binaries import PostgresBinaries
from task_store.embedded._programs import run_program
from task_store.embedded.errors import ProgramFailedError


@pytest.fixture
def binaries(tmp_path: Path) -> PostgresBinaries:
    """A folder for scripts that take the place of PostgreSQL's programs."""
    return PostgresBinaries(tmp_path, "18.6")


def script(binaries: PostgresBinaries, text: str) -> str:
    file = binaries.folder / "pg_dump"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file.name


async def test_what_a_program_writes_is_returned_or_goes_where_it_is_sent(
    binaries: PostgresBinaries, tmp_path: Path
) -> None:
    name = script(binaries, 'echo "dump of $1"')

    assert await run_program(binaries, name, "tasks", output=PIPE) == b"dump of tasks\n"
    with (tmp_path / "out").open("wb") as out:  # nothing else runs
        assert await run_program(binaries, name, "tasks", output=out.fileno()) == b""
    assert (tmp_path / "out").read_text() == "dump of tasks\n"


async def test_variables_of_the_environment_do_not_redirect_a_program(
    binaries: PostgresBinaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")

    assert await run_program(binaries, script(binaries, 'echo "[$PGHOST]"'), output=PIPE) == b"[]\n"


async def test_of_a_failure_the_reasons_are_shown_and_no_statements_or_rows(binaries: PostgresBinaries) -> None:
    lines = ["while PROCESSING TOC:", "pg_dump: error: no space on the moon", "CONTEXT:  COPY tasks, line 1: secret"]
    name = script(binaries, "\n".join(f"echo '{line}' >&2" for line in [*lines, "Command was: secret"]) + "\nexit 1")

    with pytest.raises(ProgramFailedError) as failed:
        await run_program(binaries, name)

    assert str(failed.value) == "pg_dump failed: no space on the moon"


async def test_a_program_that_is_not_there_is_named(binaries: PostgresBinaries) -> None:
    with pytest.raises(ProgramFailedError, match=r"pg_dump failed: .*No such file"):
        await run_program(binaries, "pg_dump")


async def test_a_program_that_takes_too_long_is_killed(binaries: PostgresBinaries) -> None:
    with pytest.raises(ProgramFailedError, match="did not answer in time"):
        await run_program(binaries, script(binaries, "exec sleep 600"), seconds=0.1)


async def test_a_program_whose_caller_is_cancelled_is_killed(binaries: PostgresBinaries, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "began")
    name = script(binaries, f"echo $$ > {tmp_path}/began; exec sleep 600")
    running = asyncio.create_task(run_program(binaries, name))
    pid = int(await asyncio.to_thread((tmp_path / "began").read_text))

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not psutil.pid_exists(pid)
