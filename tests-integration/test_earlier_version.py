"""The version before today's migrations runs beside today's, on one database and one broker, under load.

Kept for every later migration: what an update changes in the schema, the version before it has to bear while both run.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from harness.api import Api
from harness.earlier import EarlierVersion, Installed, find_earlier, install, revisions_today
from harness.load import Load
from harness.processes import Process
from harness.servers import new_database
from harness.waiting import eventually
from harness.world import HANDLERS, World
from task_store import REVISIONS
from task_store.testing import PostgresServer

pytestmark = [
    pytest.mark.skipif(not (Path(__file__).parents[1] / ".git").exists(), reason="an image lacks the history"),
    pytest.mark.skipif(
        len(revisions_today()) == 1, reason="there is one migration, so no version has less of the schema than today's"
    ),
]

BOTH_LOAD = HANDLERS / "lasting.py"
ROUNDS = 6
"""How long each step lasts under load, in rounds of it; each also lasts as long as what it does."""
PAUSES_SINCE = "0003"
"""The revision that came with pauses: a worker of a version without it would go on."""
EXPECTED_ERRORS = {"attempt_failed"}
"""What is logged at level ERROR of a task that is meant to fail."""


class Side:
    """The processes of one version: an API and a worker. `pids` are the ids of all that were ever started."""

    def __init__(self, world: World, name: str, command: Callable[[str], str]) -> None:
        self.name = name
        self.pids: set[int] = set()
        self._world = world
        self._command = command
        self._api: Api | None = None
        self._worker: Process | None = None

    @property
    def api(self) -> Api:
        """Its API, which has been started."""
        assert self._api is not None
        return self._api

    @property
    def worker(self) -> Process:
        """Its worker, which has been started."""
        assert self._worker is not None
        return self._worker

    async def migrate(self) -> None:
        """Bring the database to the schema of this version, by its own command."""
        process = self._run("task-migrate")
        assert await process.ended() == 0, process.tail()

    async def start(self) -> None:
        """Start both, and return once the API answers and the worker has a lease."""
        api, worker = self._run("task-api"), self._run("task-worker", "--handlers", str(BOTH_LOAD))
        self.pids |= {api.pid, worker.pid}
        self._api, _ = await asyncio.gather(self._world.reach(api), worker.logged("worker_registered"))
        self._worker = worker

    async def kill_worker(self) -> None:
        """End the worker as kill -9 does, while it runs something."""
        await eventually(self._is_running_something, f"the worker of {self.name} runs something")
        self.worker.kill()
        await self.worker.ended()

    async def stop(self) -> None:
        """Stop both as an update does, those that still run, and see that they end well."""
        for process in (self.api.process, self.worker):
            if process.exit_code is None:
                assert await process.stop() == 0, process.tail()

    def _run(self, name: str, *options: str) -> Process:
        processes = self._world.processes
        called = f"{name}-{self.name}-{len(processes.all) + 1}"
        return processes.start([self._command(name), *options], self._world.settings, name=called)

    def _is_running_something(self) -> bool:
        notes = self._world.journal.notes()
        return any(note.pid == self.worker.pid and note.ended_at is None for note in notes)


@pytest.fixture(scope="module")
def version() -> EarlierVersion:
    return find_earlier()


@pytest.fixture(scope="module")
def installed(version: EarlierVersion, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(version, tmp_path_factory.mktemp("earlier"))


@pytest.fixture
async def world(postgres_server: PostgresServer, broker_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A database without a schema and an empty broker."""
    async with new_database(postgres_server, "for_two_versions") as url, World(url, broker_url, tmp_path) as world:
        yield world


@pytest.fixture
def earlier(world: World, installed: Installed) -> Side:
    return Side(world, "earlier", installed.command)


@pytest.fixture
def today(world: World) -> Side:
    return Side(world, "today", str)


async def test_the_version_before_todays_migrations_runs_beside_todays_and_nothing_is_lost_or_refused(
    world: World, earlier: Side, today: Side, version: EarlierVersion, say: Callable[[str], None]
) -> None:
    await earlier.migrate()
    assert await schema(world) == version.revisions[-1]
    await earlier.start()
    load = Load(earlier.api)
    async with load.running():
        await load.more(ROUNDS)
        await today.migrate()
        assert await schema(world) == REVISIONS[-1]
        await load.more(ROUNDS)  # the earlier version alone, on today's schema

        await today.start()
        load.apis.append(today.api)
        await load.more(ROUNDS)
        await both_answer_alike(world, earlier, today)
        assert await pause_and_resume(today) == (201 if PAUSES_SINCE in version.revisions else 409)

        await restart(earlier, load)
        await load.more(ROUNDS)
        await every_repeat_is_known(load, earlier, today)

        await load.leave(earlier.api)
        await earlier.stop()
        assert await pause_and_resume(today) == 201
        await load.more(ROUNDS)  # today's version alone, with all that the earlier one has left

    await world.settle()
    ran = who_ran_what_whose_api_took(world, load, earlier, today)
    await world.check()
    say(f"{len(load.outcomes)} tasks beside {version.name} with {version.revisions[-1]}: {ran}")
    assert not (found := load.surprises(await world.tables.tasks())), "\n".join(found)
    assert not (found := lines_for_a_person(world)), "\n".join(found)
    assert len(ran) == 4, "each version runs what either took"


async def schema(world: World) -> str:
    """Return the revision of the database."""
    (row,) = await world.tables.rows("SELECT version_num FROM alembic_version")
    return str(row["version_num"])


async def restart(earlier: Side, load: Load) -> None:
    """Kill the worker of the earlier version, stop its API, and start both anew, on today's schema."""
    await earlier.kill_worker()
    await load.leave(earlier.api)
    await earlier.stop()
    await earlier.start()
    load.apis.append(earlier.api)


async def both_answer_alike(world: World, earlier: Side, today: Side) -> None:
    """See that both APIs say the same of tasks that have ended, whichever version wrote them; today's may say more."""
    newest = "SELECT id FROM tasks WHERE status IN ('COMPLETED', 'FAILED', 'CANCELLED') ORDER BY id DESC LIMIT 60"
    for row in await world.tables.rows(newest):
        before, now = await asyncio.gather(earlier.api.get(row["id"]), today.api.get(row["id"]))
        assert {name: now.get(name) for name in before} == before


async def pause_and_resume(today: Side) -> int:
    """Pause a type that nobody uses, and end that at once; return how the pause was answered.

    It is 409 while a worker lives that does not know pauses, and names it.
    """
    answer = await today.api.http.post("/api/v1/pauses", json={"type": "nobody.uses.this"})
    if answer.status_code == 201:
        ended = await today.api.http.delete(f"/api/v1/pauses/{answer.json()['id']}")
        assert ended.status_code == 200, ended.text
    else:
        assert answer.json()["code"] == "pauses_not_known", answer.text
    return answer.status_code


async def every_repeat_is_known(load: Load, earlier: Side, today: Side) -> None:
    """Repeat what has a key at the API of the other version, which must answer the tasks that there are."""
    for sent in load.keyed():
        await sent.repeat((today if sent.api.process.pid in earlier.pids else earlier).api)


def who_ran_what_whose_api_took(world: World, load: Load, earlier: Side, today: Side) -> Counter[str]:
    """Return how many attempts each version ran of the tasks that its own API took, and of those of the other's."""

    def side_of(pid: int) -> str:
        return (earlier if pid in earlier.pids else today).name

    took = {task_id: side_of(sent.api.process.pid) for sent in load.sent for task_id in sent.ids}
    return Counter(f"{side_of(note.pid)} for {took[note.task_id]}" for note in world.journal.notes())


def lines_for_a_person(world: World) -> list[str]:
    """Return what a person should have acted on, of all that APIs and workers have logged, tracebacks included."""
    return [
        f"{process.name}: {line}"
        for process in world.processes.all
        if not process.name.startswith("task-migrate")  # which logs no JSON, and may have waited for a lock
        for line in process.log.splitlines()
        if is_for_a_person(line)
    ]


def is_for_a_person(line: str) -> bool:
    """Return whether a line is of level ERROR or above, and not of a task that is meant to fail; or is no event."""
    try:
        said = json.loads(line)
    except ValueError:
        return True
    return said["level"] in {"error", "critical"} and said["event"] not in EXPECTED_ERRORS
