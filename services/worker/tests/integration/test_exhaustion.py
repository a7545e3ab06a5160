"""A worker that has no files left to begin code gives its tasks back, says so once, and takes few more."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import psutil

Until = Callable[..., Awaitable[Any]]

TASKS = 30
CONCURRENCY = 5
HANDLERS = """
from task_worker import handler

@handler("t", max_attempts=1, in_process=True)
def run():
    return "ran"
"""


async def test_a_worker_without_files_for_a_process_fails_no_task_and_leaves_most_to_others(
    worker_process: Callable[..., Awaitable[asyncio.subprocess.Process]], table: Any, tmp_path: Path, until: Until
) -> None:
    file = tmp_path / "needs_processes.py"
    file.write_text(HANDLERS)
    process = await worker_process(
        file,
        stderr=asyncio.subprocess.PIPE,
        log_level="WARNING",
        concurrency=CONCURRENCY,
        handler_processes=1,
    )
    await table.fill(1, type="t")
    await until(lambda: _completed(table, 1))
    worker = psutil.Process(process.pid)
    usual = worker.rlimit(resource.RLIMIT_NOFILE)
    worker.rlimit(resource.RLIMIT_NOFILE, (worker.num_fds() + 1, usual[1]))
    for child in worker.children():
        child.kill()
    await table.fill(TASKS, type="t")
    async with asyncio.timeout(60):
        while (line := orjson.loads(await process.stderr.readline()))["event"] != "code_not_begun":
            assert line["event"] != "attempt_failed", line
    in_time = await _attempts(table)

    worker.rlimit(resource.RLIMIT_NOFILE, usual)
    await until(lambda: _completed(table, 1 + TASKS))
    process.terminate()
    rest = [orjson.loads(line)["event"] for line in (await process.stderr.read()).splitlines()]

    assert "Too many open files" in line["reason"]
    assert line["nothing_claimed_for_seconds"] == 5
    assert in_time <= 1 + 2 * CONCURRENCY
    assert await _attempts(table) <= 1 + TASKS + 2 * CONCURRENCY
    assert "code_not_begun" not in rest


async def _completed(table: Any, count: int) -> bool:
    return bool(await table.count("COMPLETED") == count)


async def _attempts(table: Any) -> int:
    return int(await table.connection.fetchval("SELECT sum(attempt) FROM tasks"))
