"""Fixtures of the unit and the integration tests: PostgreSQL if a test asks for it, waiting, claims, handlers."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from task_contracts import Priority
from task_runtime.testing import plain_environment, untouched_logging  # noqa: F401 # fixtures
from task_store import Claim
from task_worker.context import TaskDetails
from task_worker.handlers import Handler, handler_of

pytest_plugins = ["task_store.testing", "task_worker.testing.plugin"]

Until = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="session")
def until() -> Until:
    """Wait until a condition, plain or async, returns something true, and return that."""

    async def wait(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def a_claim() -> Callable[..., Claim]:
    """Make a claimed task; any field can be passed."""

    def make(**fields: Any) -> Claim:
        defaults: dict[str, Any] = {
            "id": uuid4(),
            "name": "a task",
            "type": "echo",
            "queue": "default",
            "priority": Priority.MEDIUM,
            "labels_text": "{}",
            "payload_text": "{}",
            "checkpoint_text": None,
            "attempt": 1,
            "failures": 0,
            "rerun_count": 0,
            "timeout_seconds": None,
            "max_attempts": None,
            "lease_token": uuid4(),
            **dict.fromkeys(("created_at", "due_at", "started_at"), datetime(2026, 1, 1, tzinfo=UTC)),
        }
        if "payload" in fields:
            fields["payload_text"] = json.dumps(fields.pop("payload"))
        return Claim(**{**defaults, **fields})

    return make


@pytest.fixture
def some_details() -> Callable[..., TaskDetails]:
    """Make the details of a task, as a context has them; any field can be passed."""

    def make(**fields: Any) -> TaskDetails:
        defaults: dict[str, Any] = {
            "id": uuid4(),
            "name": "a task",
            "type": "t",
            "queue": "default",
            "labels": {},
            "attempt": 1,
            "rerun_count": 0,
            "lease_token": uuid4(),
            "checkpoint_text": None,
            "api_url": "http://127.0.0.1:9000",
        }
        return TaskDetails(**{**defaults, **fields})

    return make


@pytest.fixture(scope="session")
def handlers_of() -> Callable[..., dict[str, Handler]]:
    """Return the handlers of decorated functions by type, as a worker takes them."""

    def make(*functions: Callable[..., Any]) -> dict[str, Handler]:
        found = [handler_of(function) for function in functions]
        return {handler.type: handler for handler in found if handler is not None}

    return make
