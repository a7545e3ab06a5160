"""What cannot work is said in one line at the start, with exit code 2: no traceback, nothing half started."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.processes import Process
from harness.servers import new_database
from harness.waiting import SECONDS
from harness.world import World
from task_store.testing import PostgresServer

MISCONFIGURED = 2
SERVERS = {"TASK_DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x", "TASK_BROKER_URL": "amqp://u:hush@127.0.0.1:1/"}
BROKEN = {
    "syntax.py, line 1": "def broken(:\n",
    "raises.py, line 2": "\nraise RuntimeError('not today')\n",
    "step.odd: a handler takes": "from task_worker import handler\n\n@handler('step.odd')\ndef odd(a, b, c): ...\n",
}


async def refused(process: Process) -> str:
    """Return the one line with which a process has ended."""
    assert await process.ended(seconds=SECONDS) == MISCONFIGURED, process.tail()
    lines = process.log.splitlines()
    assert len(lines) == 1, process.log
    assert "hush" not in lines[0]
    return lines[0]


WRONG = [
    ("task-worker", {"TASK_DATABASE_URL": ""}, "TASK_DATABASE_URL"),
    ("task-worker", {"TASK_DATABASE_URL": "mysql://u:hush@db/x"}, "TASK_DATABASE_URL"),
    ("task-worker", {"TASK_BROKER_URL": "http://u:hush@mq/"}, "TASK_BROKER_URL"),
    ("task-worker", {"TASK_BROKER_URL": "memory://"}, "TASK_BROKER_URL"),
    ("task-worker", {"TASK_WORKER_CONCURRENCY": "0"}, "TASK_WORKER_CONCURRENCY"),
    ("task-worker", {"TASK_WORKER_PRIORITY_WEIGHTS": "6:3"}, "TASK_WORKER_PRIORITY_WEIGHTS"),
    ("task-worker", {"TASK_WORKER_QUEUES": "reports"}, "TASK_WORKER_QUEUES"),
    ("task-worker", {"TASK_WORKER_HTTP_HOSTS": "https://api.example.org"}, "TASK_WORKER_HTTP_HOSTS"),
    ("task-worker", {"TASK_WORKER_HANDLERS": "no.such.module"}, "TASK_WORKER_HANDLERS"),
    ("task-worker", {"TASK_LOG_LEVEL": "LOUD"}, "TASK_LOG_LEVEL"),
    ("task-api", {"TASK_BROKER_URL": "memory://"}, "TASK_BROKER_URL"),
    ("task-api", {"TASK_API_PORT": "99999"}, "TASK_API_PORT"),
    ("task-api", {"TASK_QUEUES": "Not A Queue"}, "TASK_QUEUES"),
    ("task-service", {"TASK_WORKER_LEASE_SECONDS": "soon"}, "TASK_WORKER_LEASE_SECONDS"),
    ("task-service", {"TASK_WORKER_HANDLERS": "./nowhere.py"}, "nowhere.py"),
    ("task-migrate", {"TASK_DATABASE_URL": "mysql://u:hush@db/x"}, "TASK_DATABASE_URL"),
    *(
        (command, {"TASK_DATABASE_URL": url, "TASK_BROKER_URL": "amqp://u:hush@127.0.0.1:1/"}, named)
        for command in ("task-api", "task-worker", "task-service", "task-migrate")
        for url, named in (
            ("postgresql://u:hu@sh-hush@db/x", "host db, port 5432, database x, user u: a special character"),
            ("postgresql://u:hush@no-such-host.invalid/x", "there is no host of this name"),
            ("postgresql://u:hush@db/x?channel_binding=require", "channel_binding=require cannot be had"),
        )
    ),
]


@pytest.fixture(scope="module")
async def wrongly_set(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Process]]:
    """A process for each line of `WRONG`, started all at once: most of their time goes into their imports."""
    async with World.embedded(tmp_path_factory.mktemp("wrong")) as world:
        own = {"task-service": {"XDG_DATA_HOME": str(world.folder)}}
        yield [world.start(command, **{**own.get(command, SERVERS), **settings}) for command, settings, _ in WRONG]
        await asyncio.gather(*(process.ended() for process in world.processes.all))  # where some tests are left out


@pytest.mark.parametrize(
    "line", range(len(WRONG)), ids=[f"{named}-{number}" for number, (_, _, named) in enumerate(WRONG)]
)
async def test_a_wrong_setting_is_one_line_that_names_it(wrongly_set: list[Process], line: int) -> None:
    _, _, named = WRONG[line]

    assert named in await refused(wrongly_set[line])


@pytest.mark.parametrize(("said", "code"), BROKEN.items())
async def test_handlers_that_cannot_be_loaded_are_one_line_that_says_where(
    tmp_path: Path, said: str, code: str
) -> None:
    file = tmp_path / f"{said.split('.')[0]}.py"
    file.write_text(code)
    async with World.embedded(tmp_path) as world:
        assert said in await refused(world.start("task-worker", **SERVERS, TASK_WORKER_HANDLERS=str(file)))


async def test_a_port_in_use_is_one_line_that_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with World.embedded(tmp_path, is_forked=False) as world:
            service = world.start("task-service", "--data-dir", str(world.data_dir), "--port", port)
            api = world.start("task-api", **SERVERS, TASK_API_PORT=port)

            assert f"port {port}" in await refused(service)
            assert f"port {port}" in await refused(api)
            assert not world.data_dir.exists()


async def test_where_there_is_no_schema_a_worker_waits_and_an_api_that_may_not_create_it_says_what_does(
    postgres_server: PostgresServer, broker_url: str, tmp_path: Path
) -> None:
    async with (
        new_database(postgres_server, "without_schema") as url,
        World(url, broker_url, tmp_path, is_forked=False) as world,
    ):
        worker = world.start("task-worker")
        assert "task-migrate" in await refused(world.start("task-api", TASK_API_MIGRATE="false"))
        await worker.logged("waiting_for_schema")

        migrate = world.start("task-migrate")
        assert await migrate.ended() == 0
        await worker.logged("process_started")


@pytest.mark.private_servers
async def test_data_of_another_major_version_is_one_line_and_stays_untouched(tmp_path: Path) -> None:
    async with World.embedded(tmp_path) as world:
        cluster = world.data_dir / "postgres"
        cluster.mkdir(parents=True)
        (cluster / "PG_VERSION").write_text("9\n")

        line = await refused(world.start("task-service", "--data-dir", str(world.data_dir)))

        assert "PostgreSQL 9" in line
        assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]
