"""A child that code forks and that comes back from it ends there: it must not go on as a second worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil

from task_contracts import Task

Create = Callable[..., Awaitable[Task]]
Ended = Callable[..., Awaitable[dict[str, Any]]]

HANDLERS = """
import asyncio, os, sys
from task_worker import handler

def fork():
    '''Return None in the child, and its exit code in the parent.'''
    child = os.fork()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else None

def come_back(way):
    if way == "raise":
        raise ValueError("in the child")
    if way == "exit":
        sys.exit(3)
    return "the child's"

def run(payload: dict):
    code = fork()
    return come_back(payload["way"]) if code is None else code

handler("thread")(run)

@handler("process", in_process=True)
def in_process(payload: dict):
    return run(payload)

@handler("loop")
async def on_loop(payload: dict):
    return run(payload)

@handler("loop that waits")
async def waits(payload: dict):
    code = fork()
    if code is None:
        await asyncio.sleep(0)
        os._exit(99)
    return code

@handler("task of its own")
async def in_task(payload: dict):
    async def one():
        code = fork()
        if code is None:
            await asyncio.sleep(0.01)
            os._exit(99)
        return code
    return await asyncio.create_task(one())
""".replace("loop that waits", "loop.waits").replace("task of its own", "task")
CODES = {"return": 0, "raise": 1, "exit": 3}


async def test_a_forked_child_ends_where_it_comes_back_and_its_parent_goes_on(
    worker_process: Callable[..., Awaitable[Any]], create: Create, ended: Ended, tmp_path: Path
) -> None:
    handlers = tmp_path / "forking.py"
    handlers.write_text(HANDLERS)
    process = await worker_process(handlers)

    ways = [(type_, way) for type_ in ("thread", "process", "loop") for way in CODES]
    ways += [("loop.waits", "return"), ("task", "return")]
    created = [(await create(type_, payload={"way": way}), way) for type_, way in ways]
    rows = [(await ended(task.id), way) for task, way in created]

    assert [(row["status"], row["result"], row["attempt"]) for row, _ in rows] == [
        ("COMPLETED", CODES[way], 1) for _, way in rows
    ]
    copies = [child for child in psutil.Process(process.pid).children() if "worker_process" in str(child.cmdline())]
    assert copies == []
