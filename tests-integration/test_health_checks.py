"""The health checks of the images, as they stand in the Dockerfiles, run against files and processes as they may be."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from harness.compose import ROOT
from harness.waiting import eventually
from harness.world import World
from task_worker.lease.alive_file import AliveFile

CHECK_SECONDS = 30.0


async def checked(service: str, **settings: str) -> tuple[int, str]:
    """Run the check of a service's image; return its exit code, and what it prints first."""
    folder = ROOT / "services" / service
    text = (folder / "Dockerfile").read_text()
    (command,) = (json.loads(found) for found in re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE))
    assert f"COPY --chmod=0755 services/{service}/{command[0]} /usr/local/bin/\n" in text
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": f"{folder}:/usr/bin:/bin", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(CHECK_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode().strip()


@pytest.fixture(params=[31.0, 3600.0])
def alive(tmp_path: Path, request: pytest.FixtureRequest) -> AliveFile:
    """Return the alive file of a worker that has just started; with a lease of 31 s a touch counts for 10.3333 s."""
    file = AliveFile(tmp_path / "alive", lease_seconds=request.param)
    file.begin()
    return file


@pytest.mark.parametrize(("thirds_of_a_lease", "is_alive"), [(0.0, True), (0.5, True), (1.1, False), (-2.0, False)])
async def test_a_worker_is_alive_for_a_third_of_a_lease_after_a_touch(
    alive: AliveFile, thirds_of_a_lease: float, *, is_alive: bool
) -> None:
    assert alive.path is not None
    silent_seconds = thirds_of_a_lease * alive.lease_seconds / 3
    os.utime(alive.path, (time.time() - silent_seconds,) * 2)
    told = alive.probe()[0]
    code, _ = await checked("worker", TASK_WORKER_ALIVE_FILE=str(alive.path))

    assert (told, code == 0) == (is_alive, is_alive)


async def test_a_worker_that_has_not_started_is_not_alive(tmp_path: Path) -> None:
    code, words = await checked("worker", TASK_WORKER_ALIVE_FILE=str(tmp_path / "alive"))

    assert (code, "cannot open" in words) == (1, True)


async def test_a_worker_that_runs_is_alive_and_one_that_is_frozen_is_not(world: World, tmp_path: Path) -> None:
    settings = {"TASK_WORKER_ALIVE_FILE": str(tmp_path / "alive")}

    async def is_told(code: int) -> bool:
        return (await checked("worker", **settings))[0] == code

    worker = await world.worker(**settings)
    await eventually(lambda: is_told(0), "it is alive")
    worker.pause()
    await eventually(lambda: is_told(1), "it is not while it is frozen")
    worker.resume()
    await eventually(lambda: is_told(0), "it is again")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])
async def test_an_api_that_serves_is_ready_by_whatever_address_it_listens_on(world: World, host: str) -> None:
    api = await world.api(TASK_API_HOST=host)

    code, words = await checked("api", TASK_API_HOST=host, TASK_API_PORT=api.url.rpartition(":")[2])

    assert (code, json.loads(words)["checks"]["database"]["status"]) == (0, "ok")


async def test_an_api_that_is_gone_or_frozen_is_not_ready(world: World) -> None:
    api = await world.api()
    port = api.url.rpartition(":")[2]
    api.process.pause()
    frozen = await checked("api", TASK_API_PORT=port)
    api.process.resume()
    api.process.send(signal.SIGTERM)
    await api.process.ended()
    gone, words = await checked("api", TASK_API_PORT=port)

    assert frozen == (1, "no answer")
    assert (gone, "Connection refused" in words) == (1, True)


async def test_an_api_that_says_it_is_not_ready_is_believed(tmp_path: Path) -> None:
    body = b'{"status":"unavailable"}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        code, words = await checked("api", TASK_API_PORT=str(server.sockets[0].getsockname()[1]))

    assert (code, words) == (1, body.decode())
