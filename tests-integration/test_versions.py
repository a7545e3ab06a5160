"""Every command says its version, whatever its environment lacks."""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import pytest

SECONDS = 60
COMMANDS = [script for script in entry_points(group="console_scripts") if script.name.startswith("task-")]


def test_the_commands_are_all_there() -> None:
    assert {"task-api", "task-migrate", "task-service", "task-worker"} <= {script.name for script in COMMANDS}


@pytest.mark.parametrize("script", COMMANDS, ids=lambda script: script.name)
async def test_a_command_prints_its_version_and_ends(script: EntryPoint) -> None:
    assert script.dist is not None
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name(script.name),
        "--version",
        env={},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()

    said = f"{script.name} {version(script.dist.name)}\n"
    assert (process.returncode, out.decode(), err) == (0, said, b"")
