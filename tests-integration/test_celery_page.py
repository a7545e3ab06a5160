"""docs/coming-from-celery.md: what it shows of ours runs, on a real API and a real worker."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.pages import Page
from harness.waiting import eventually
from harness.world import World

OURS, THEIRS = "# here\n", "# Celery\n"
BLOCKS = Page.read("coming-from-celery.md").blocks("python")
API = "http://127.0.0.1:9000"
ENDED = {
    "mail.send": {"COMPLETED", "CANCELLED", "FAILED"},
    "page.fetch": {"COMPLETED"},
    "page.parse": {"COMPLETED"},
    "words.count_all": {"COMPLETED"},
    "words.count": {"COMPLETED"},
    "words.total": {"COMPLETED"},
}


def ours(what: str) -> list[str]:
    """Return our blocks of a kind: `handlers`, their `tests`, or what `callers` write."""
    by_kind: dict[str, list[str]] = {"handlers": [], "tests": [], "callers": []}
    for block in BLOCKS:
        if block.startswith(OURS):
            kind = "handlers" if "@handler(" in block else "tests" if "task_worker.testing" in block else "callers"
            by_kind[kind].append(block)
    return by_kind[what]


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    """All handlers of the page as one file."""
    path = tmp_path / "tasks_of_the_page.py"
    path.write_text("\n".join(ours("handlers")))
    return path


def test_every_block_says_whose_it_is_and_is_python() -> None:
    assert all(block.startswith((OURS, THEIRS)) for block in BLOCKS)
    assert all(ast.parse(block) for block in BLOCKS)


async def test_what_callers_write_gives_what_the_page_says(world: World, handlers: Path) -> None:
    api = await world.api()
    await world.worker(TASK_WORKER_HANDLERS=str(handlers), TASK_WORKER_API_URL=api.url)
    said: dict[str, Any] = {}

    for block in ours("callers"):
        await asyncio.to_thread(exec, block.replace(API, api.url), said)
    await eventually(world.tables.are_all_ended, "every task has ended")
    said["client"].close()

    rows = await world.tables.tasks()
    status_by_type = {type_: {row["status"] for row in rows if row["type"] == type_} for type_ in ENDED}
    assert status_by_type == ENDED
    assert said["ended"].attempt == 2
    (total,) = [row["result"] for row in rows if row["type"] == "words.total"]
    assert total == "6"


def test_what_is_shown_of_tests_passes(handlers: Path) -> None:
    said: dict[str, Any] = {}
    exec(compile(handlers.read_text(), handlers, "exec"), said)
    for block in ours("tests"):
        exec(block, said)

    tests = [value for name, value in said.items() if name.startswith("test_")]
    for test in tests:
        test()

    assert tests
