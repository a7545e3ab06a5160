"""The command `task-client` against the real service: what scripts do with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from harness.world import World
from task_store import SCHEMA_REVISION

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def run(world: World, tmp_path: Path) -> Run:
    """Run the command against an API with a worker beside it; returns its exit code, stdout and stderr."""
    api, _ = await asyncio.gather(world.api(), world.worker())

    async def invoke(*words: str, text: str = "") -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "task_client_cli", *words),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TASK_SERVER": api.url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(text.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return invoke


async def test_a_file_of_tasks_is_created_once_and_all_of_it_runs(world: World, run: Run) -> None:
    lines = "".join(json.dumps({"name": f"n{n}", "type": "step.noop"}) + "\n" for n in range(1_500))

    first, again = await run("create-many", "-", text=lines), await run("create-many", "-", text=lines)
    ids = first[1].split()
    await world.settle()
    listed = await run("list", "--type", "step.noop", "--all", "--status", "completed", "--jsonl")

    world.accepted.ids.update(map(UUID, ids))
    assert (first[0], again[0], again[1]) == (0, 0, first[1])
    assert {json.loads(line)["id"] for line in listed[1].splitlines()} == set(ids)
    assert len(set(ids)) == 1_500
    await world.check()


async def test_a_script_creates_waits_cancels_and_runs_again(world: World, run: Run) -> None:
    done = await run("create", "hello", "--payload", '{"text": "hello"}', "--wait")
    code, made, _ = await run("create", "for later", "--run-at", "1h", "--label", "a=b")
    task_id = made.strip()
    late = await run("wait", task_id, "--timeout", "0.5")
    refused = await run("rerun", task_id)
    unasked = await run("cancel", "--label", "a=b")
    cancelled = await run("cancel", "--label", "a=b", "--yes")
    waited = await run("wait", task_id)
    shown: dict[str, Any] = json.loads((await run("get", task_id, "--json"))[1])
    doctor = await run("doctor")

    world.accepted.ids.update(map(UUID, [task_id, re.findall(r"created (\S+)", done[2])[0]]))
    world.accepted.cancelled.add(UUID(task_id))
    assert (done[0], json.loads(done[1])) == (0, {"text": "hello"})
    assert (code, late[0], refused[0], unasked[0]) == (0, 5, 3, 2)
    assert (cancelled[:2], waited[0], shown["status"]) == ((0, "1\n"), 1, "CANCELLED")
    assert doctor[0] == 0
    assert "clock    agrees" in doctor[1]
    await world.check()


async def test_whoever_is_on_call_asks_why_and_who(world: World, run: Run) -> None:
    task_id = (await run("create", "later", "--run-at", "1h"))[1].strip()
    explained, workers, types = await asyncio.gather(
        run("explain", task_id, "--json"), run("workers", "--jsonl"), run("types", "--jsonl")
    )
    doctor, cancelled = await run("doctor"), await run("cancel", task_id)

    why: dict[str, Any] = json.loads(explained[1])
    (worker,) = map(json.loads, workers[1].splitlines())
    offered = {json.loads(line)["type"] for line in types[1].splitlines()}
    assert (explained[0], workers[0], types[0], doctor[0], cancelled[0]) == (0, 0, 0, 0, 0)
    assert why["reason"] == "not_due"
    assert set(worker["types"]) == offered
    assert f"schema {SCHEMA_REVISION}" in doctor[1]
