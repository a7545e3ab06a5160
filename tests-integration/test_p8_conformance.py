"""P8: embedded, on a single machine and as a cluster, the service is the same: each test here runs on all three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from harness.api import TASKS, Api, Json
from harness.servers import new_database
from harness.tables import Row
from harness.waiting import SECONDS, eventually
from harness.world import LEASE_SECONDS, World
from task_bus.testing import VirtualHosts
from task_client import AsyncTaskClient, TaskClient, TaskFinishedError
from task_contracts import TaskCreate, TaskStatus
from task_store.testing import PostgresServer

DEPLOYMENTS = ("embedded", "one_of_each", "two_of_each")
QUEUES = {"TASK_QUEUES": "default,reports"}
PLACES = ("step.gate", "step.gate.thread", "step.gate.process")
PROBLEM = "application/problem+json"
LATER = timedelta(days=1)


class Deployment:
    """A world that is up, and its APIs, which take turns. `misspelt_id` is a task of a type that nobody offers."""

    def __init__(self, world: World, apis: list[Api], misspelt_id: str) -> None:
        self.world = world
        self.misspelt_id = misspelt_id
        self._apis = apis
        self._turn = 0

    @property
    def api(self) -> Api:
        """Another one each time, where there are several."""
        self._turn += 1
        return self._apis[self._turn % len(self._apis)]

    async def settled_tasks(self) -> list[Row]:
        """Return all tasks but `misspelt_id`, which fails when its time comes, whatever a test does meanwhile."""
        return [row for row in await self.world.tables.tasks() if str(row["id"]) != self.misspelt_id]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return what any of its processes logged of an event."""
        return [line for process in self.world.processes.all for line in process.events(event)]


@dataclass(frozen=True)
class Places:
    """The servers of a deployment, if it does not bring its own, and a folder for all that it writes."""

    name: str
    folder: Path
    postgres: PostgresServer | None = None
    rabbit: VirtualHosts | None = None

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        if self.postgres is None or self.rabbit is None:
            async with World.embedded(self.folder, is_forked=False) as world:
                yield world
            return
        name = f"test_{uuid4().hex}"
        async with new_database(self.postgres, name) as url:
            await asyncio.to_thread(self.rabbit.add_vhost, name)
            async with World(url, self.rabbit.url(name), self.folder, is_forked=False) as world:
                yield world
            await asyncio.to_thread(self.rabbit.delete_vhost, name)


async def _service(world: World) -> Api:
    return await world.service(**QUEUES)


async def _apart(world: World, of_each: int) -> list[Api]:
    """Start so many of each, all at once, on a database without a schema."""
    processes = [world.start("task-api", **QUEUES) for _ in range(of_each)]
    apis = [await world.reach(process) for process in processes]
    own_url = {"TASK_WORKER_API_URL": apis[0].url}
    workers = [world.start("task-worker", **QUEUES, **own_url) for _ in range(of_each)]
    for worker in workers:
        await worker.logged("worker_registered")
    return apis


PRIVATE = {"embedded": pytest.mark.private_servers}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=PRIVATE.get(name, ())) for name in DEPLOYMENTS])
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """What a deployment stands on."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        return Places(request.param, folder)
    servers = map(request.getfixturevalue, ("postgres_server", "rabbitmq_vhosts"))
    return Places(request.param, folder, *servers)


@pytest.fixture(scope="module")
async def deployment(places: Places) -> AsyncIterator[Deployment]:
    """The deployment, up. At the end what all tests left there is held against the invariants."""
    async with places.world() as world:
        apis = await _apart(world, DEPLOYMENTS.index(places.name)) if world.broker_url else [await _service(world)]
        misspelt = await apis[0].create(type="step.misspelt")
        yield Deployment(world, apis, misspelt["id"])
        await world.check()


@pytest.fixture
def world(deployment: Deployment) -> World:
    return deployment.world


@pytest.fixture
def api(deployment: Deployment) -> Api:
    return deployment.api


async def begun(world: World, task_id: object) -> None:
    await eventually(lambda: any(str(note.task_id) == str(task_id) for note in world.journal.notes()), "it has begun")


async def test_a_task_with_nothing_but_a_name_completes(api: Api) -> None:
    answer = await api.post(name="say hello", payload={"text": "hello"})

    task = answer.json()
    done = await api.reaches(task["id"], "COMPLETED")
    assert answer.headers["location"] == f"{TASKS}/{task['id']}"
    assert (task["status"], task["priority"], task["type"]) == ("NEW", "MEDIUM", "echo")
    assert (done["result"], done["attempt"], done["error"]) == ({"text": "hello"}, 1, None)
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]


async def test_an_answer_of_any_api_is_seen_by_every_other(deployment: Deployment) -> None:
    task = await deployment.api.create(name="seen by all", labels={"test": "seen"}, run_at=_later())

    for _ in range(2):
        listed = await deployment.api.http.get(TASKS, params={"label": "test:seen", "status": "NEW"})
        assert [item["id"] for item in listed.json()["items"]] == [task["id"]]
    await deployment.api.cancel(task["id"])


@pytest.mark.parametrize("type_", PLACES)
async def test_a_handler_runs_on_the_loop_in_a_thread_or_in_a_process(api: Api, world: World, type_: str) -> None:
    gate = world.gate(f"{type_}-run")
    task = await api.create(type=type_, payload=gate.payload)
    running = await api.reaches(task["id"], "IN_PROGRESS")
    gate.open()

    done = await api.reaches(task["id"], "COMPLETED")
    assert running["result"] is None
    assert (done["result"], done["attempt"]) == ("passed", 1)


@pytest.mark.parametrize("type_", ["step.gate", "step.gate.process"])
async def test_progress_is_visible_while_the_task_runs(api: Api, world: World, type_: str) -> None:
    gate = world.gate(f"{type_}-progress")
    task = await api.create(type=type_, payload=gate.payload)

    async def progress() -> Json | None:
        state = (await api.http.get(f"{TASKS}/{task['id']}/status")).json()
        return state["progress"] if state["status"] == "IN_PROGRESS" else None

    assert await eventually(progress, "it says how far it is") == {"percent": 50.0, "message": "at the gate"}
    gate.open()
    await api.reaches(task["id"], "COMPLETED")


async def test_a_failure_is_tried_again_until_its_attempts_are_over(api: Api, world: World) -> None:
    task = await api.create(type="step.raise", payload={"text": "no luck"}, max_attempts=2)

    done = await api.reaches(task["id"], "FAILED")
    assert done["error"] == {"code": "handler_error", "message": "no luck", "type": "RuntimeError"}
    assert (done["attempt"], done["failures"], done["result"]) == (2, 2, None)
    attempts = [row for row in await world.tables.attempts() if str(row["task_id"]) == task["id"]]
    assert [row["outcome"] for row in attempts] == ["RETRY", "FAIL"]
    assert all("RuntimeError: no luck" in row["traceback"] for row in attempts)


@pytest.mark.parametrize(
    ("type_", "status", "attempts", "failures"),
    [("step.fail", "FAILED", 1, 1), ("step.retry", "COMPLETED", 2, 1), ("step.snooze", "COMPLETED", 2, 0)],
)
async def test_a_handler_says_how_it_went(api: Api, type_: str, status: str, attempts: int, failures: int) -> None:
    task = await api.create(type=type_)

    done = await api.reaches(task["id"], status)
    assert (done["attempt"], done["failures"]) == (attempts, failures)


@pytest.mark.parametrize("type_", ["step.follow", "step.follow.thread"])
async def test_a_handler_creates_tasks_by_its_own_client(api: Api, world: World, type_: str) -> None:
    task = await api.create(type=type_)

    done = await api.reaches(task["id"], "COMPLETED")
    following = await api.reaches(done["result"], "COMPLETED")
    world.accepted.ids.add(UUID(following["id"]))
    assert following["name"] == "next"


async def test_the_clients_create_wait_list_and_cancel(api: Api, world: World) -> None:
    asked = TaskCreate(name="by a client", labels={"test": "clients"}, payload={"text": "hello"})
    async with AsyncTaskClient(api.url) as client:
        created = await client.create(asked)
        done = await client.wait(created.id, SECONDS)
        listed = [item.id async for item in client.list(labels={"test": "clients"})]
    with TaskClient(api.url) as client:
        waiting = client.create(asked.model_copy(update={"run_at": datetime.now(UTC) + LATER}))
        cancelled = client.cancel(waiting.id)
        status = client.status(waiting.id).status
        with pytest.raises(TaskFinishedError):
            client.cancel(created.id)

    world.accepted.ids |= {created.id, waiting.id}
    world.accepted.cancelled.add(waiting.id)
    assert (done.status, done.result, listed) == (TaskStatus.COMPLETED, {"text": "hello"}, [created.id])
    assert cancelled.status == status == TaskStatus.CANCELLED


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("timeout", {"type": "step.gate", "payload": {"gate": "/nowhere"}, "timeout_seconds": 0.2}),
        ("timeout", {"type": "step.gate.process", "payload": {"gate": "/nowhere"}, "timeout_seconds": 1.5}),
        ("timeout", {"type": "step.gate.thread", "payload": {"gate": "/nowhere"}, "timeout_seconds": 0.2}),
        ("invalid_payload", {"type": "step.gate", "payload": {"gate": 7}}),
        ("unstorable_result", {"type": "step.unstorable"}),
        ("process_died", {"type": "step.abort.process"}),
        ("hopeless", {"type": "step.fail"}),
    ],
)
async def test_what_goes_wrong_is_said_with_the_task(api: Api, code: str, asked: Json) -> None:
    task = await api.create(**asked, max_attempts=1)

    done = await api.reaches(task["id"], "FAILED")
    assert (done["error"]["code"], done["attempt"], done["failures"]) == (code, 1, 1)


async def test_a_type_that_nobody_offers_fails_after_a_lease(deployment: Deployment) -> None:
    done = await deployment.api.reaches(deployment.misspelt_id, "FAILED")

    waited = datetime.fromisoformat(done["finished_at"]) - datetime.fromisoformat(done["created_at"])
    assert waited >= timedelta(seconds=LEASE_SECONDS)
    assert (done["error"]["code"], done["attempt"]) == ("unknown_type", 0)


async def test_a_task_of_later_does_not_start_before(api: Api, world: World) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    task = await api.create(type="step.noop", run_at=soon.isoformat())

    await api.reaches(task["id"], "COMPLETED")
    (row,) = await world.tables.rows("SELECT started_at - run_at AS late, due_at FROM tasks WHERE id = $1", task["id"])
    assert timedelta(0) <= row["late"] < timedelta(seconds=2)


async def test_p4_a_waiting_task_is_cancelled_at_once_and_stays_cancelled(api: Api) -> None:
    task = await api.create(run_at=_later())

    first, second = await api.cancel(task["id"]), await api.cancel(task["id"])
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert (await api.get(task["id"]))["status"] == "CANCELLED"


@pytest.mark.parametrize("type_", PLACES)
async def test_p4_a_running_task_is_asked_to_stop_and_cancelled_once_it_has(api: Api, world: World, type_: str) -> None:
    task = await api.create(type=type_, payload=world.gate("never").payload)
    await begun(world, task["id"])

    answer = await api.cancel(task["id"])
    assert (answer.status_code, answer.json()["status"]) == (202, "IN_PROGRESS")
    done = await api.reaches(task["id"], "CANCELLED")
    assert (done["attempt"], done["failures"], done["result"]) == (1, 0, None)
    assert (await api.cancel(task["id"])).status_code == 200


async def test_p4_a_task_that_is_still_stopping_is_not_said_to_be_cancelled(api: Api, world: World) -> None:
    gate = world.gate("tidy")
    task = await api.create(type="step.slow_to_stop", payload=gate.payload)
    await begun(world, task["id"])

    first, second = await api.cancel(task["id"]), await api.cancel(task["id"])
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["cancel_requested_at"] == second.json()["cancel_requested_at"] is not None
    assert (await api.get(task["id"]))["status"] == "IN_PROGRESS"
    gate.open()
    await api.reaches(task["id"], "CANCELLED")


async def test_cancelling_a_finished_task_is_refused(api: Api) -> None:
    task = await api.create()
    await api.reaches(task["id"], "COMPLETED")

    answer = await api.cancel(task["id"])
    assert (answer.status_code, answer.headers["content-type"]) == (409, PROBLEM)
    assert answer.json()["code"] == "task_finished"


async def test_what_matches_a_filter_is_cancelled_and_rerun(api: Api, world: World) -> None:
    gate, labels = world.gate("many"), {"many": "1"}
    running = await api.create(type="step.gate", payload=gate.payload, labels=labels)
    await begun(world, running["id"])
    waiting = await api.create(type="step.noop", run_at=_later(), labels=labels)
    body = {"filter": {"label": ["many:1"]}}

    cancelled = (await api.http.post(f"{TASKS}/cancel", json=body)).json()
    for task in (waiting, running):
        await api.reaches(task["id"], "CANCELLED")
    gate.open()
    rerun = (await api.http.post(f"{TASKS}/rerun", json=body)).json()

    assert (cancelled["changed"], cancelled["cancel_requested"], rerun["changed"]) == (2, 1, 2)
    for task in (waiting, running):
        assert (await api.reaches(task["id"], "COMPLETED"))["rerun_count"] == 1


async def test_a_task_of_later_that_is_changed_to_now_starts_now(api: Api) -> None:
    task = await api.create(run_at=_later(), priority="LOW")

    answer = await api.http.patch(f"{TASKS}/{task['id']}", json={"run_at": None, "priority": "HIGH"})

    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert (await api.reaches(task["id"], "COMPLETED"))["priority"] == "HIGH"


async def test_a_task_created_in_a_transaction_runs_once_that_commits(api: Api, world: World) -> None:
    create = """SELECT create_task('{"name": "in SQL", "payload": {"text": "hello"}, "queue": "reports"}')"""
    connection = await asyncpg.connect(world.database_url, timeout=SECONDS)
    async with connection.transaction():
        kept = str(await connection.fetchval(create))
        inner = connection.transaction()
        await inner.start()
        undone = await connection.fetchval(create)
        await inner.rollback()
    await connection.close()

    world.accepted.ids.add(UUID(kept))
    done = await api.reaches(kept, "COMPLETED")
    assert (done["result"], done["type"], done["attempt"]) == ({"text": "hello"}, "echo", 1)
    assert (await api.http.get(f"{TASKS}/{undone}")).status_code == 404


async def test_every_queue_that_is_served_is_worked_on(api: Api) -> None:
    task = await api.create(queue="reports", priority="LOW")

    assert (await api.reaches(task["id"], "COMPLETED"))["queue"] == "reports"


async def test_p2_without_a_fault_each_task_runs_exactly_once_and_the_poll_finds_nothing(
    deployment: Deployment, world: World
) -> None:
    found_before = len(deployment.said("claimed_by_poll"))
    asked = [{"type": "step.noop", "priority": ("LOW", "MEDIUM", "HIGH")[number % 3]} for number in range(30)]
    ids, done = [], []
    for _ in range(10):  # not 300 at once: on a slow machine the last would be overdue, and the poll's by right
        created = await deployment.api.create_all(asked)
        ids += created
        done += await deployment.api.all_complete(created)

    starts = [note.task_id for note in world.journal.notes() if note.task_id in set(ids)]
    assert {(task["attempt"], task["failures"]) for task in done} == {(1, 0)}
    assert sorted(starts) == sorted(ids)
    assert len(deployment.said("claimed_by_poll")) == found_before


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (422, {"json": {}}),
        (422, {"json": {"name": "x", "surprise": 1}}),
        (422, {"json": {"name": "x", "priority": "URGENT"}}),
        (422, {"json": {"name": "a\u0000b"}}),
        (422, {"json": {"name": "x", "payload": {"number": 2**70}}}),
        (422, {"json": {"name": "x", "queue": "nowhere"}}),
        (422, {"json": {"name": "x", "run_at": "9999-12-31T23:59:59-12:00"}}),
        (422, {"content": b'{"name": "x", "payload": {"n": NaN}}', "headers": {"content-type": "application/json"}}),
        (422, {"content": b'{"name": "\\ud800"}', "headers": {"content-type": "application/json"}}),
        (422, {"content": b"[" * 20_000, "headers": {"content-type": "application/json"}}),
        (413, {"json": {"name": "x", "description": "y" * (1 << 20)}}),
        (415, {"content": b"name=x", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_p7_bad_input_gets_a_problem_document_and_leaves_nothing_behind(
    deployment: Deployment, status: int, asked: Json
) -> None:
    before = await deployment.settled_tasks()

    answer = await deployment.api.http.post(TASKS, **asked)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert {"title", "status", "detail", "code"} <= answer.json().keys()
    assert await deployment.settled_tasks() == before


async def test_an_unknown_id_is_404_and_what_is_no_id_422(api: Api) -> None:
    answers = [await api.http.get(f"{TASKS}/{name}") for name in (uuid4(), "seven")]

    assert [answer.status_code for answer in answers] == [404, 422]
    assert {answer.headers["content-type"] for answer in answers} == {PROBLEM}


async def test_all_is_well_while_everything_is_there(deployment: Deployment) -> None:
    code, body = await deployment.api.health()

    assert (code, body["status"]) == (200, "ok")


def _later() -> str:
    return (datetime.now(UTC) + LATER).isoformat()
