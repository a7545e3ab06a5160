"""A real piece of work: the words of 1,200 real files are counted, whatever happens in the middle of it."""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from harness.api import Api
from harness.journal import Journal
from harness.servers import Broker
from harness.waiting import eventually
from harness.world import World

FILES = 1_200
TOP = 5
PRIORITIES = ("HIGH", "MEDIUM", "LOW")
WORKER = {"TASK_WORKER_CONCURRENCY": "4", "TASK_WORKER_LEASE_SECONDS": "5"}
SECONDS = 120.0

Expected = dict[str, dict[str, Any]]


def python_files(root: str) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(set(names) - {"site-packages", "__pycache__"})
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".py"))


def counted(path: Path) -> dict[str, Any]:
    """Compute directly what the handler (`handlers/words.py`) should: with other means."""
    text = path.read_bytes()
    words = Counter(word.decode() for word in re.split(rb"[^A-Za-z0-9_]+", text) if word)
    top = sorted(words, key=lambda word: (-words[word], word))[:TOP]
    return {
        "words": sum(words.values()),
        "top": [[word, words[word]] for word in top],
        "sha256": hashlib.sha256(text).hexdigest(),
    }


@pytest.fixture(scope="module")
def expected() -> Expected:
    """What each file's task should come to."""
    places = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
    files = islice(chain.from_iterable(python_files(place) for place in places), FILES)
    return {str(path): counted(path) for path in files}


async def accept_all(api: Api, expected: Expected) -> float:
    """Have a task accepted for each file, the priorities mixed; return how many seconds that took."""
    began = time.monotonic()
    await api.create_all(
        {"name": path[-100:], "type": "text.words", "priority": PRIORITIES[number % 3], "payload": {"path": path}}
        for number, path in enumerate(expected)
    )
    return time.monotonic() - began


async def a_third_is_done(world: World) -> None:
    await eventually(lambda: ended(world.journal) > FILES / 3, "a third is done", seconds=SECONDS)


def ended(journal: Journal) -> int:
    return sum(note.how is not None for note in journal.notes())


async def results(api: Api) -> dict[str, tuple[str, Any]]:
    """Return status and result of every task by its file, page by page."""
    found, query = {}, {"view": "full", "limit": "200"}
    while True:
        page = (await api.http.get("/api/v1/tasks", params=query)).json()
        found.update({item["payload"]["path"]: (item["status"], item["result"]) for item in page["items"]})
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def ranks(world: World) -> dict[str, float]:
    """Return the median rank of first starts by priority: how early, among all, the tasks of each were begun."""
    priority_by_id = {row["id"]: row["priority"] for row in await world.tables.tasks()}
    ranks = {priority: [] for priority in PRIORITIES}
    for rank, task_id in enumerate(world.journal.first_starts()):
        ranks[priority_by_id[task_id]].append(rank)
    return {priority: median(of_it) for priority, of_it in ranks.items()}


async def prove(
    world: World, api: Api, expected: Expected, say: Callable[[str], None], began: float, accepting: float
) -> None:
    """Wait for the end; show the figures, and that every task came to what it should, in the right order."""
    await world.settle(seconds=SECONDS)
    seconds = time.monotonic() - began
    median_ranks = await ranks(world)
    again = len(world.journal.notes()) - FILES
    say(f"{FILES} accepted over REST in {accepting:.1f} s ({FILES / accepting:.0f}/s)")
    say(f"run by two workers in {seconds:.1f} s ({FILES / seconds:.0f}/s), {again} runs more than tasks")
    say(f"median rank of first starts: {median_ranks}")

    assert await results(api) == {path: ("COMPLETED", result) for path, result in expected.items()}
    assert median_ranks["HIGH"] < median_ranks["MEDIUM"] < median_ranks["LOW"]


async def test_p1_every_file_is_counted_though_a_worker_is_killed_in_the_middle(
    world: World, expected: Expected, say: Callable[[str], None]
) -> None:
    api = await world.api()
    accepting = await accept_all(api, expected)
    began = time.monotonic()
    doomed, _ = world.start("task-worker", **WORKER), world.start("task-worker", **WORKER)
    await a_third_is_done(world)

    doomed.kill()

    await prove(world, api, expected, say, began, accepting)
    await world.check()


@pytest.mark.private_servers
class TestWithoutBroker:
    """The same, on a broker that may be broken."""

    @pytest.fixture
    def broker_url(self, breakable_broker: Broker) -> str:
        return breakable_broker.url

    async def test_p6_every_file_is_counted_though_rabbitmq_stops_in_the_middle(
        self, world: World, breakable_broker: Broker, expected: Expected, say: Callable[[str], None]
    ) -> None:
        api = await world.api()
        accepting = await accept_all(api, expected)
        began = time.monotonic()
        for _ in range(2):
            world.start("task-worker", **WORKER)
        await a_third_is_done(world)

        await breakable_broker.stop()

        await prove(world, api, expected, say, began, accepting)
        await world.check(is_broker_up=False)
