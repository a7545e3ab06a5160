"""Every command says its version and completes what is typed, whatever its environment lacks."""

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

    ended = await run(script, "--version")

    assert ended == (0, f"{script.name} {version(script.dist.name)}\n", "")


@pytest.mark.parametrize("script", COMMANDS, ids=lambda script: script.name)
async def test_a_command_completes_its_options_in_a_shell(script: EntryPoint) -> None:
    asked = {f"_{script.name.replace('-', '_').upper()}_COMPLETE": "complete_bash", "COMP_CWORD": "1"}

    code, out, err = await run(script, **asked, COMP_WORDS=f"{script.name} --")

    assert (code, err) == (0, "")
    assert {"--version", "--install-completion"} <= set(out.split())


async def run(script: EntryPoint, *words: str, **environment: str) -> tuple[int | None, str, str]:
    """Run a command in this environment alone; returns its exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name(script.name),
        *words,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
