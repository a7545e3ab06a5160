"""Answers the calls of `context.client` in a test: it accepts new tasks, and keeps them for the outcome."""

from __future__ import annotations

import asyncio

import httpx2

from task_contracts import TaskCreate
from task_contracts.testing import a_task

API_URL = "http://task-service.test"


class UnansweredCallError(Exception):
    """The handler called the API to do something else than create a task. Its test must pass a client."""


class RecordingApi:
    """An API that can create tasks, which `created` lists, and nothing else. Each kind of client has its transport."""

    def __init__(self) -> None:
        self.created: list[TaskCreate] = []
        self.transport = httpx2.MockTransport(self._answer)
        self.async_transport = httpx2.MockTransport(self._answer_after_a_wait)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if (request.method, request.url.path) != ("POST", "/api/v1/tasks"):
            asked = f"{request.method} {request.url.path}"
            raise UnansweredCallError(f"no service answers {asked} in a test: pass a client, run(..., client=...)")
        asked_for = TaskCreate.model_validate_json(request.content)
        self.created.append(asked_for)
        task = a_task(**asked_for.model_dump(exclude_none=True))
        return httpx2.Response(201, content=task.model_dump_json(), headers={"Content-Type": "application/json"})

    async def _answer_after_a_wait(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)  # as over a network, so that a cancel can arrive here
        return self._answer(request)
