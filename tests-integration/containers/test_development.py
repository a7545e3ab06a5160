"""docker-compose.yml: each command of docs/docker.md, and a stack that is troubled while it works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.compose import Compose, docker, is_ready
from harness.pages import Page, quoted
from harness.waiting import until
from task_client import TaskClient
from task_contracts import Priority, TaskCreate, TaskStatus
from task_store import SCHEMA_REVISION

ROWS = Page.read("docker.md").rows(first="as first asked for")
COMMANDS = [shlex.split(quoted(row["here"]))[1:] for row in ROWS]
ONE_MORE_WORKER = ["run", "--rm", "worker"]
CTRL_C = "\x03"
TASKS = 500
HANDLER = """
import asyncio

from pydantic import BaseModel
from task_worker import handler

class Number(BaseModel):
    number: int

@handler("added")
async def added() -> str:
    return "live"

@handler("slow")
async def slow(payload: Number) -> int:
    await asyncio.sleep(1)
    return payload.number
"""


@pytest.fixture(scope="module")
def stack(open_stack: Callable[..., Iterator[Compose]]) -> Iterator[Compose]:
    """The stack of docker-compose.yml, for the tests of this module in their order."""
    yield from open_stack()


@pytest.fixture(scope="module")
def client(stack: Compose) -> Iterator[TaskClient]:
    with TaskClient(stack.url) as client:
        yield client


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_of_the_table_does_what_it_says(stack: Compose, command: list[str]) -> None:
    """In their order: the migration is applied by hand to an empty volume, before anything else has run."""
    if command == ONE_MORE_WORKER:
        with stack.at_terminal(*command) as terminal:
            until(lambda: '"worker_registered"' in terminal.seen(), "one more worker works", seconds=60)
            terminal.type(CTRL_C)
            until(lambda: '"drain_ended"' in terminal.seen(), "Ctrl-C drains it", seconds=60)
            assert terminal.process.wait(60) == 0
        return
    said = stack(*command)

    if "alembic" in command:
        assert stack("run", "--rm", "api", "alembic", "current").strip() == f"{SCHEMA_REVISION} (head)"
    if "--scale" in command:
        assert len(stack.containers("worker")) == 3
    if "pytest" in command:
        assert re.search(r"\d+ passed", said)
        assert "failed" not in said
    if "--cov" in command:
        assert "task_api" in (stack.folder / "htmlcov" / "index.html").read_text()
    if command == ["down"]:
        assert stack("ps", "-q") == ""


def test_the_table_is_whole() -> None:
    assert len(COMMANDS) == 8
    assert COMMANDS[-1] == ["down"]


def test_every_container_is_healthy_and_nothing_is_published_but_on_this_machine(
    stack: Compose, client: TaskClient
) -> None:
    stack("up", "-d", "--scale", "worker=2")
    until(lambda: is_ready(client), "the API is ready", seconds=60)
    containers = [one for service in ("db", "rabbitmq", "api", "worker") for one in stack.containers(service)]

    for container in containers:
        until(lambda one=container: stack.health(one) == "healthy", f"{container} is healthy", seconds=120)
        bindings = stack.inspect(container)["HostConfig"]["PortBindings"] or {}
        assert {port["HostIp"] for ports in bindings.values() for port in ports} <= {"127.0.0.1"}
    assert len(containers) == 5
    for worker in stack.containers("worker"):  # a worker that recycles itself ends with exit code 0
        assert stack.inspect(worker)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_a_handler_is_live_after_a_restart_of_the_worker(stack: Compose, client: TaskClient) -> None:
    counted = client.create(TaskCreate(name="count", type="text.count", payload={"text": "to be or not To be"}))
    assert client.wait(counted.id, 60).result == {"words": 6, "different": 4}

    (stack.folder / "handlers" / "added.py").write_text(HANDLER)
    stack("restart", "worker")

    added = client.create(TaskCreate(name="added", type="added"))
    assert client.wait(added.id, 60).result == "live"


def test_p1_500_tasks_run_though_a_worker_is_killed_and_rabbitmq_restarted(stack: Compose, client: TaskClient) -> None:
    def create(number: int) -> str:
        priority = list(Priority)[number % len(Priority)]
        task = TaskCreate(name=f"task {number}", type="slow", payload={"number": number}, priority=priority)
        return str(client.create(task).id)

    doomed = stack.containers("worker")[0]
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(create, range(TASKS // 2)))
        until(lambda: client.page(status=TaskStatus.IN_PROGRESS).items, "tasks run", seconds=60)
        docker("kill", doomed)
        restart = pool.submit(stack, "restart", "rabbitmq")
        ids = first + list(pool.map(create, range(TASKS // 2, TASKS)))
        restart.result()

    ended = [client.wait(task_id, 120) for task_id in ids]
    assert {task.status for task in ended} == {TaskStatus.COMPLETED}
    assert [task.result for task in ended] == list(range(TASKS))
    assert max(task.attempt for task in ended) == 2, "the killed worker held tasks, which ran again"
    assert client.page(status=TaskStatus.FAILED).items == []


def test_a_frozen_worker_turns_unhealthy_within_a_lease(stack: Compose, client: TaskClient) -> None:
    stack("up", "-d", "--scale", "worker=2")
    frozen = stack.containers("worker")[0]
    until(lambda: stack.health(frozen) == "healthy", "it is healthy", seconds=120)

    send(frozen, "STOP")
    until(lambda: stack.health(frozen) == "unhealthy", "a frozen worker is unhealthy within a lease", seconds=30)
    send(frozen, "CONT")
    until(lambda: stack.health(frozen) == "healthy", "it is healthy again", seconds=60)
    assert is_ready(client)


def test_a_worker_that_is_asked_to_stop_drains_and_ends_with_0(stack: Compose) -> None:
    worker = stack.containers("worker")[0]
    docker("stop", worker)

    assert stack.inspect(worker)["State"]["ExitCode"] == 0
    assert '"drain_ended"' in stack("logs", "--no-color", "worker")


def send(container: str, name: str) -> None:
    """Send a signal to the worker, which is the one child of the container's init."""
    docker("exec", container, "sh", "-c", f"kill -{name} $(cat /proc/1/task/1/children)")
