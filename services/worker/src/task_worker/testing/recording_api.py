"""Answers the calls of `context.client` in a test: it accepts new tasks, and keeps them for the outcome."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import httpx2
import orjson

from task_contracts import PROBLEM_MEDIA_TYPE, TaskCreate, TaskSummary
from task_contracts.testing import a_task

API_URL = "http://task-service.test"
_TASKS = "/api/v1/tasks"
_BATCH = f"{_TASKS}/batch"


class UnansweredCallError(Exception):
    """The handler called the API to do something else than create tasks. Its test must pass a client."""


class RecordingApi:
    """An API that can create tasks, which `created` lists, and nothing else. Each kind of client has its transport.

    As the service does, it creates what has a key once, and refuses the key for anything else.
    """

    def __init__(self) -> None:
        self.created: list[TaskCreate] = []
        self._made: dict[str, tuple[tuple[str, Any], bytes]] = {}
        """What was asked for under each key, and the answer."""
        self.transport = httpx2.MockTransport(self._answer)
        self.async_transport = httpx2.MockTransport(self._answer_after_a_wait)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if request.method != "POST" or path not in {_TASKS, _BATCH}:
            asked = f"{request.method} {path}"
            raise UnansweredCallError(f"no service answers {asked} in a test: pass a client, run(..., client=...)")
        body, key = orjson.loads(request.content), request.headers["Idempotency-Key"]
        if key not in self._made:
            self._made[key] = (path, body), self._create_batch(body) if path == _BATCH else self._create(body)
        asked_before, answer = self._made[key]
        if asked_before != (path, body):
            return _mismatch()
        return httpx2.Response(HTTPStatus.CREATED, content=answer, headers={"Content-Type": "application/json"})

    def _create(self, body: Any) -> bytes:
        asked = TaskCreate.model_validate_json(orjson.dumps(body))
        self.created.append(asked)
        return a_task(**asked.model_dump(exclude_none=True)).model_dump_json().encode()

    def _create_batch(self, body: Any) -> bytes:
        tasks = [orjson.loads(self._create(task)) for task in body["tasks"]]
        return orjson.dumps({"items": [{name: task[name] for name in TaskSummary.model_fields} for task in tasks]})

    async def _answer_after_a_wait(self, request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(0)  # as over a network, so that a cancel can arrive here
        return self._answer(request)


def _mismatch() -> httpx2.Response:
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    problem = {
        "title": status.phrase,
        "status": status,
        "detail": "the key was sent before, with another task",
        "code": "idempotency_mismatch",
    }
    return httpx2.Response(status, content=orjson.dumps(problem), headers={"Content-Type": PROBLEM_MEDIA_TYPE})
