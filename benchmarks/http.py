"""The measures over HTTP: load from wrk on the service's API, and on the least that could stand in its place."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.measures import Values
from benchmarks.stage import Stage, StageError

CONNECTIONS = 32
BATCH_ROWS = 1_000
WARM_SECONDS = 1

_SCRIPT = Path(__file__).parent / "load.lua"
_GRACE_SECONDS = 30.0


async def post(stage: Stage, seconds: int) -> Values:
    """POST as quickly as the server answers, without a key."""
    async with stage.served():
        return {"post": await _rate(stage, "/api/v1/tasks", "post", seconds)}


async def post_keyed(stage: Stage, seconds: int) -> Values:
    """POST with a key, which is another one each time."""
    async with stage.served():
        return {"post_keyed": await _rate(stage, "/api/v1/tasks", "keyed", seconds)}


async def batch(stage: Stage, seconds: int) -> Values:
    """POST batches of 1,000 tasks, one after the other."""
    async with stage.served():
        rate = await _rate(stage, "/api/v1/tasks/batch", "batch", seconds, connections=1)
        return {"batch": BATCH_ROWS * rate}


async def insert(stage: Stage, rows: int) -> Values:
    """Insert the rows of batches one after the other, without a server."""
    await stage.enqueue("many", BATCH_ROWS)
    return {"batch": rows / (await stage.enqueue("many", rows))["seconds"]}


async def _rate(stage: Stage, path: str, kind: str, seconds: int, connections: int = CONNECTIONS) -> float:
    """Return how many requests a second were answered, after a second of warming up.

    Raises:
        StageError: one was refused, or wrk is not installed.

    """
    await _load(stage, path, kind, WARM_SECONDS, connections)
    before = await stage.ended()
    found = await _load(stage, path, kind, seconds, connections)
    rows = await stage.ended() - before
    if found["errors"] or rows < found["requests"] * (BATCH_ROWS if kind == "batch" else 1):
        raise StageError(f"{stage.contestant.name}: {found} stored {rows} rows")
    return float(found["requests"] / found["seconds"])


async def _load(stage: Stage, path: str, kind: str, seconds: int, connections: int) -> Any:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise StageError("wrk is not installed")
    words = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT), stage.http_url + path]
    process = await asyncio.create_subprocess_exec(
        wrk, *words, "--", kind, str(BATCH_ROWS), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + _GRACE_SECONDS)
    except BaseException:
        process.kill()
        raise
    lines = output.decode().strip().splitlines()
    if process.returncode or not lines[-1].startswith("{"):
        raise StageError(f"{stage.contestant.name}: wrk ended with {process.returncode}: {' '.join(lines[-3:])}")
    return json.loads(lines[-1])
