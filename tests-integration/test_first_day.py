"""One command, and nothing installed: what somebody who has just cloned the repository does with `task-service`."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.processes import clean_environment, command
from harness.servers import end_servers_on, servers_on
from harness.users import ordinary_user
from harness.waiting import SECONDS, eventually
from harness.world import World

pytestmark = pytest.mark.private_servers

HANDLER = """
from task_worker import handler

@handler("greet")
async def greet() -> str:
    return {!r}
"""
LEASE_LOST = 75
HTTP_PATHS = ("/docs", "/redoc", "/openapi.json", "/health/live", "/health/ready")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A folder for the service's data, and nothing else. What still runs on it afterwards is ended."""
    async with World.embedded(tmp_path, is_forked=False) as world:
        yield world
    assert not end_servers_on(tmp_path), "the service has left something running"


async def test_the_first_day_of_a_stranger(world: World) -> None:
    first = await world.service()
    pages = [await first.http.get(path) for path in HTTP_PATHS]
    task = await first.create(name="say hello", payload={"text": "hello"})
    done = await first.reaches(task["id"], "COMPLETED")
    assert {page.status_code for page in pages} == {200}
    assert done["result"] == {"text": "hello"}

    children = first.process.family()
    assert await first.process.stop() == 0
    assert servers_on(world.folder) == []
    assert not [child for child in children if child.is_running()]

    second = await world.service()
    assert await second.get(task["id"]) == done


async def test_the_start_block_says_how_to_open_the_database_in_psql(world: World) -> None:
    service = await world.service()
    task = await service.create(name="seen from outside")
    command = (await service.process.logged("process_started"))["psql"]

    # As somebody would who copies it from the terminal and adds a query.
    psql = await asyncio.create_subprocess_shell(
        f'{command} -Atc "SELECT id, name FROM tasks"', stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS):
        seen, _ = await psql.communicate()

    assert seen.decode() == f"{task['id']}|seen from outside\n"


async def test_p1_after_kill_9_the_next_start_adopts_the_database_and_finishes_what_was_running(world: World) -> None:
    gate = world.gate()
    first = await world.service()
    running = await first.create_all([{"type": "step.gate", "payload": gate.payload}] * 3)
    later = await first.create(type="step.noop", run_at="2026-01-01T00:00:00Z")
    await first.reaches(later["id"], "COMPLETED")
    await eventually(lambda: len(world.journal.notes()) == 4, "they run")

    first.process.kill()
    await first.process.ended()
    second = await world.service()
    await second.process.logged("embedded_postgres_adopted")
    gate.open()

    done = await second.all_complete(running)
    assert {(task["attempt"], task["failures"]) for task in done} == {(2, 0)}
    assert (await second.get(later["id"]))["attempt"] == 1
    await world.check()


async def test_ctrl_c_stops_everything_and_a_second_one_does_not_wait_for_tasks(world: World) -> None:
    service = await world.service(TASK_WORKER_DRAIN_SECONDS="600")
    gate = world.gate()
    ids = await service.create_all(
        [{"type": type_, "payload": gate.payload} for type_ in ("step.gate", "step.gate.process")]
    )
    await eventually(lambda: len(world.journal.notes()) == len(ids), "they run")

    service.process.interrupt()
    await service.process.logged("drain_began")
    service.process.interrupt()

    assert await service.process.ended() == 0
    assert servers_on(world.folder) == []
    gate.open()
    again = await world.service()
    done = await again.all_complete(ids)
    assert {(task["attempt"], task["failures"], task["lost_count"]) for task in done} == {(2, 0, 0)}
    await world.check()


async def test_a_second_ctrl_c_stops_the_database_too_where_code_cannot_be_stopped(world: World) -> None:
    service = await world.service(TASK_WORKER_DRAIN_SECONDS="600")
    await service.create(type="step.deaf", payload=world.gate().payload)
    await eventually(lambda: len(world.journal.notes()) == 1, "it runs")

    service.process.interrupt()
    await service.process.logged("drain_began")
    service.process.interrupt()

    assert await service.process.ended() == LEASE_LOST
    assert servers_on(world.folder) == []


async def test_a_closed_terminal_stops_everything_and_waits_for_tasks(world: World) -> None:
    service = await world.service(TASK_WORKER_DRAIN_SECONDS="600")
    gate = world.gate()
    task = await service.create(type="step.gate", payload=gate.payload)
    await eventually(lambda: len(world.journal.notes()) == 1, "it runs")

    for _ in range(2):  # one by the shell, one by the kernel
        service.process.send(signal.SIGHUP)
    await service.process.logged("drain_began")
    gate.open()

    assert await service.process.ended() == 0
    assert servers_on(world.folder) == []
    assert (await (await world.service()).get(task["id"]))["status"] == "COMPLETED"


async def test_a_database_that_dies_is_started_again(world: World) -> None:
    service = await world.service()
    (postmaster,) = servers_on(world.data_dir)

    postmaster.kill()
    await service.process.logged("embedded_postgres_died")

    async def is_accepted() -> bool:
        return (await service.post()).status_code == 201

    await eventually(is_accepted, "a task is accepted again")
    await world.check()


async def test_it_works_as_an_ordinary_user_with_its_data_in_its_home(world: World) -> None:
    user = ordinary_user()
    with tempfile.TemporaryDirectory(prefix="ts-home-") as home:
        user.own(Path(home))
        # What this process measures of its children goes into a folder that this user may not write.
        ours = {name: value for name, value in clean_environment().items() if not name.startswith("COVERAGE")}
        environment = {**ours, "HOME": home, "TASK_LOG_FORMAT": "json", "XDG_DATA_HOME": ""}
        process = world.processes.start([*user.prefix, command("task-service"), "--port", "0"], environment)
        api = await world.reach(process)
        task = await api.create(payload={"who": "nobody special"})

        done = await api.reaches(task["id"], "COMPLETED")
        assert done["result"] == {"who": "nobody special"}
        assert (Path(home) / ".local" / "share" / "task-service" / "postgres" / "PG_VERSION").is_file()
        assert await process.stop() == 0
        assert servers_on(Path(home)) == []


async def test_handlers_are_loaded_anew_when_their_file_changes_and_a_broken_one_changes_nothing(world: World) -> None:
    file = world.folder / "tasks.py"
    file.write_text(HANDLER.format("one"))
    service = await world.service("--handlers", str(file), "--reload")

    async def greeting() -> object:
        return (await service.reaches((await service.create(type="greet"))["id"], "COMPLETED"))["result"]

    assert await greeting() == "one"
    file.write_text("this is no Python\n")
    shown = await service.process.logged("reload_failed")
    assert "tasks.py" in shown["reason"]
    assert await greeting() == "one"
    file.write_text(HANDLER.format("two"))
    await service.process.logged("reloaded")
    assert await eventually(greeting, "the new handler answers") == "two"


async def test_servers_that_are_named_are_used_instead_of_its_own(
    database_url: str, broker_url: str, tmp_path: Path
) -> None:
    async with World(database_url, broker_url, tmp_path, is_forked=False) as world:
        service = await world.service()
        task = await service.create(type="step.noop")
        await service.reaches(task["id"], "COMPLETED")

        assert not world.data_dir.exists()
        assert set(await world.ready()) == {
            "tasks.default.high",
            "tasks.default.medium",
            "tasks.default.low",
            "tasks.dead",
        }
        await world.check()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_it_stops_while_it_is_still_starting(world: World, number: signal.Signals) -> None:
    process = world.start("task-service", "--data-dir", str(world.data_dir))
    await eventually(lambda: servers_on(world.data_dir), "its database is being made")

    os.kill(process.pid, number)

    assert await process.ended() == 0
    assert servers_on(world.data_dir) == []
