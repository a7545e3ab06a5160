from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from task_store.embedded import EmbeddedPostgres, ServerTimings

pytestmark = pytest.mark.private_servers

StartService = Callable[..., subprocess.Popen[str]]


def kill(service: subprocess.Popen[str]) -> None:
    service.kill()
    service.wait(timeout=10)


async def test_server_of_a_killed_service_is_adopted_and_stopped_later(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    url = service.stdout.readline().strip()
    left = look.postmaster_of(data_dir)
    kill(service)
    connection = await asyncpg.connect(url)

    postgres = EmbeddedPostgres(data_dir)
    adopted_url = await postgres.start()

    assert adopted_url == url
    assert look.postmaster_of(data_dir) == left
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await postgres.stop()
    assert look.has_ended(left)


async def test_service_that_is_told_to_stop_stops_its_server(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    service.stdout.readline()
    server = look.postmaster_of(data_dir)

    _, errors = service.communicate("\n", timeout=20)

    assert (service.returncode, errors) == (0, "")
    assert look.has_ended(server)


async def test_interrupt_of_the_terminal_reaches_the_service_alone(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    service.stdout.readline()

    assert os.getsid(look.postmaster_of(data_dir).pid) != os.getsid(service.pid)


async def test_pid_file_that_names_somebody_elses_process_does_not_prevent_a_start(
    data_dir: Path, look: SimpleNamespace
) -> None:
    async with EmbeddedPostgres(data_dir):
        text = (data_dir / "postgres" / "postmaster.pid").read_text()
    _, *rest = text.split("\n")
    (data_dir / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *rest]))

    async with EmbeddedPostgres(data_dir):
        assert look.postmaster_of(data_dir).pid != os.getpid()


async def test_server_and_service_killed_together_are_followed_by_a_normal_start(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    service = start_service(data_dir)
    connection = await asyncpg.connect(service.stdout.readline().strip())
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    server = look.postmaster_of(data_dir)
    server.kill()
    kill(service)

    async with EmbeddedPostgres(data_dir) as postgres:
        again = await asyncpg.connect(postgres.url)
        answer = await again.fetchval("SELECT answer FROM kept")
        await again.close()
        pid = look.postmaster_of(data_dir).pid

    assert answer == 42
    assert pid != server.pid
    connection.terminate()


async def test_server_that_does_not_answer_is_replaced(
    data_dir: Path, start_service: StartService, look: SimpleNamespace
) -> None:
    impatient = ServerTimings(connect_seconds=0.1, adopt_seconds=0.3, fast_seconds=0.1, immediate_seconds=0.1)
    service = start_service(data_dir)
    service.stdout.readline()
    frozen = look.postmaster_of(data_dir)
    frozen.suspend()
    kill(service)

    async with EmbeddedPostgres(data_dir, timings=impatient):
        replacement = look.postmaster_of(data_dir)

    assert replacement != frozen


async def test_end_is_noticed_where_the_system_has_no_process_descriptors(
    data_dir: Path, start_service: StartService, monkeypatch: pytest.MonkeyPatch, look: SimpleNamespace
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    service = start_service(data_dir)
    service.stdout.readline()
    kill(service)

    async with asyncio.timeout(20):
        async with EmbeddedPostgres(data_dir):
            server = look.postmaster_of(data_dir)

    assert look.has_ended(server)
