"""Lists have a share of the database connections, so that they never keep out those who create."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from task_api.deadlines import Deadlines
from task_api.list_turns import ListTurns
from task_api.parts import ApiParts
from task_contracts import Problem
from task_contracts.testing import an_id
from task_store import ChangedMany, CountedMany, Page

TASKS = "/api/v1/tasks"


class SlowTasks:
    """Tasks whose pages come when a test says so."""

    def __init__(self) -> None:
        self.reading, self.most = 0, 0
        self.both_read, self.may_end = asyncio.Event(), asyncio.Event()

    async def page(self, *_: Any, **__: Any) -> Page:
        await self._read()
        return Page((), None)

    async def change_many(self, *_: Any, **__: Any) -> ChangedMany:
        await self._read()
        return ChangedMany({}, frozenset(), datetime.now(UTC), None)

    async def count_many(self, *_: Any, **__: Any) -> CountedMany:
        await self._read()
        return CountedMany({}, is_capped=False, began_at=datetime.now(UTC))

    async def _read(self) -> None:
        self.reading += 1
        self.most = max(self.most, self.reading)
        if self.reading == 2:
            self.both_read.set()
        try:
            await self.may_end.wait()
        finally:
            self.reading -= 1

    async def get(self, _: Any) -> None:
        return None


@pytest.fixture
def tasks() -> SlowTasks:
    return SlowTasks()


async def test_lists_and_calls_that_change_many_take_turns_and_keep_no_other_call_waiting(
    parts: ApiParts, tasks: SlowTasks, open_client: Callable[..., httpx2.AsyncClient]
) -> None:
    async with open_client(replace(parts, tasks=tasks)) as client:
        lists = [asyncio.create_task(client.get(TASKS)) for _ in range(6)]
        bodies = ({"all": True}, {"all": True, "dry_run": True})
        lists += [
            asyncio.create_task(client.post(f"{TASKS}/{call}", json=body))
            for call in ("cancel", "rerun")
            for body in bodies
        ]
        await tasks.both_read.wait()

        answer = await client.get(f"{TASKS}/{an_id()}")

        tasks.may_end.set()
        answers = await asyncio.gather(*lists)
    assert answer.status_code == 404
    assert [answer.status_code for answer in answers] == [200] * 10
    assert tasks.most == 2


async def test_list_that_waits_too_long_for_its_turn_says_when_to_try_again(
    parts: ApiParts, tasks: SlowTasks, open_client: Callable[..., httpx2.AsyncClient]
) -> None:
    hurried = replace(parts, tasks=tasks, deadlines=Deadlines(request_seconds=0.2))
    with capture_logs() as lines:
        async with open_client(hurried) as client:
            answers = await asyncio.gather(*(client.get(TASKS) for _ in range(5)))

    assert [answer.status_code for answer in answers] == [503] * 5
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert Problem.model_validate_json(answers[0].content).code == "unavailable"
    reasons = {line["reason"] for line in lines if line["event"] == "request_without_database"}
    assert reasons == {"no answer within 0.2 s", "other lists are being read"}


@pytest.mark.parametrize(("connections", "turns"), [(1, 1), (2, 1), (4, 1), (5, 2), (10, 4), (500, 200)])
def test_lists_have_two_fifths_of_the_connections(connections: int, turns: int) -> None:
    assert ListTurns(connections, wait_seconds=1).count == turns
