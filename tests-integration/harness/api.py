"""One API process, and how tests talk to it: over plain HTTP, so that they see what a caller sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import httpx2

from harness.processes import Process
from harness.waiting import SECONDS, eventually

TASKS = "/api/v1/tasks"
BATCH = f"{TASKS}/batch"
AT_ONCE = 40
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}

Json = dict[str, Any]


class Accepted:
    """What callers were told: the client's journal, for the checker."""

    def __init__(self) -> None:
        self.ids: set[UUID] = set()
        self.cancelled: set[UUID] = set()


class Api:
    """A process that serves the API, `task-api` or `task-service`."""

    def __init__(self, process: Process, url: str, accepted: Accepted) -> None:
        self.process = process
        self.url = url
        self._accepted = accepted
        self.http = httpx2.AsyncClient(base_url=url, timeout=httpx2.Timeout(10.0))

    async def create(self, **fields: Any) -> Json:
        """Create a task and return it; a name is given where there is none."""
        answer = await self.post(**fields)
        assert answer.status_code == 201, answer.text
        task: Json = answer.json()
        return task

    async def post(self, **fields: Any) -> httpx2.Response:
        """Ask for a task, and return whatever is answered."""
        return await self.send(TASKS, {"name": "a task", **fields})

    async def send(self, path: str, body: Json, *, key: str | None = None) -> httpx2.Response:
        """Ask for a task or, at `BATCH`, for several, with an Idempotency-Key or without; return what is answered."""
        answer = await self.http.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
        if answer.status_code == 201:
            self._accepted.ids.update(ids_of(answer.json()))
        return answer

    async def create_all(self, bodies: Iterable[Json]) -> list[UUID]:
        """Create tasks, some dozens at a time, and return their ids in the order of `bodies`."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(body: Json) -> UUID:
            async with gate:
                return UUID((await self.create(**body))["id"])

        return await asyncio.gather(*(one(body) for body in bodies))

    async def get(self, task_id: object) -> Json:
        """Return a task that must be there."""
        answer = await self.http.get(f"{TASKS}/{task_id}")
        assert answer.status_code == 200, answer.text
        task: Json = answer.json()
        return task

    async def cancel(self, task_id: object) -> httpx2.Response:
        """Ask for a task to be cancelled."""
        answer = await self.http.delete(f"{TASKS}/{task_id}")
        if answer.status_code == 200:
            self._accepted.cancelled.add(UUID(str(task_id)))
        return answer

    async def health(self) -> tuple[int, Json]:
        """Return the status code and the body of the readiness call."""
        answer = await self.http.get("/health/ready")
        return answer.status_code, answer.json()

    async def reaches(self, task_id: object, status: str, *, seconds: float = SECONDS) -> Json:
        """Return the task once it is in a status; fails at once where it ends in another."""

        async def look() -> Json | None:
            task = await self.get(task_id)
            if task["status"] == status:
                return task
            assert task["status"] not in ENDED, f"{task_id} ended as {task['status']}, not {status}: {task['error']}"
            return None

        task: Json = await eventually(look, f"{task_id} is {status}", seconds=seconds)
        return task

    async def all_complete(self, task_ids: Sequence[object], *, seconds: float = SECONDS) -> list[Json]:
        """Return these tasks once all of them are COMPLETED."""
        return [await self.reaches(task_id, "COMPLETED", seconds=seconds) for task_id in task_ids]

    async def aclose(self) -> None:
        """Close the connections to it."""
        await self.http.aclose()


def ids_of(answer: Json) -> list[UUID]:
    """Return the ids of the task, or of the tasks of a batch, that an answer names."""
    return [UUID(task["id"]) for task in answer.get("items", [answer])]
