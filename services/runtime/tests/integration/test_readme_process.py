"""The example of the README, run as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
DEADLINE_SECONDS = 30
ENOUGH = {"TASK_DATABASE_URL": "postgresql://db/tasks", "TASK_BROKER_URL": "amqp://u:hush@mq/"}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The example of the README as a file."""
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert example is not None
    path = tmp_path / "clock.py"
    path.write_text(example[1])
    return path


@asynccontextmanager
async def running(program: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASK_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, env={**environment, **variables}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stderr_line(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.readline()).decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_starts_and_ends_well_when_asked_to(program: Path, number: signal.Signals) -> None:
    async with running(program, **ENOUGH) as process:
        started = json.loads(await stderr_line(process))
        process.send_signal(number)
        await process.wait()

        assert (started["event"], started["broker"]) == ("process_started", "amqp://u:***@mq/")
        assert process.returncode == 0


async def test_a_process_without_its_variables_says_so_and_ends_with_2(program: Path) -> None:
    async with running(program) as process:
        lines = [await stderr_line(process), await stderr_line(process), await stderr_line(process)]
        await process.wait()

        assert lines == [
            "error: TASK_DATABASE_URL: is required, but not set\n",
            "error: TASK_BROKER_URL: is required, but not set\n",
            "",
        ]
        assert process.returncode == 2
