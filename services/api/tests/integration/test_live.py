"""Who works, what is on offer, and what runs here."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import httpx2

from task_api.parts import ApiParts
from task_contracts import ItemList, TypeInfo, Version, WorkerInfo
from task_store import SCHEMA_REVISION, Offer, WorkerProcess, Workers, new_worker_id

LEASE = timedelta(minutes=5)
SCHEMA = {"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]}
OFFER = Offer(("default",), {"echo": None, "report.build": SCHEMA})


async def test_live_workers_are_listed(client: httpx2.AsyncClient, parts: ApiParts) -> None:
    me, gone, workers = new_worker_id(), new_worker_id(), Workers(parts.database)
    await workers.register(me, OFFER, LEASE, WorkerProcess("web-1", 4711, "0.1.0", 50))
    await workers.register(gone, OFFER, LEASE)
    await workers.retire(gone)

    answer = await client.get("/api/v1/workers")

    (worker,) = ItemList[WorkerInfo].model_validate_json(answer.content).items
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-cache")
    assert (worker.id, worker.host, worker.pid, worker.slots) == (me, "web-1", 4711, 50)
    assert worker.types == ["echo", "report.build"]
    assert 290 < worker.lease_remaining_seconds <= 300


async def test_types_on_offer_are_listed_with_their_schemas(client: httpx2.AsyncClient, parts: ApiParts) -> None:
    workers = Workers(parts.database)
    await workers.register(new_worker_id(), OFFER, LEASE)
    await workers.offer(OFFER)

    answer = await client.get("/api/v1/types")

    types = ItemList[TypeInfo].model_validate_json(answer.content).items
    assert [(one.type, one.queue, one.payload_schema, one.live_workers) for one in types] == [
        ("echo", "default", None, 1),
        ("report.build", "default", SCHEMA, 1),
    ]


async def test_without_workers_the_lists_are_empty(client: httpx2.AsyncClient) -> None:
    for path in ("workers", "types"):
        answer = await client.get(f"/api/v1/{path}")

        assert (answer.status_code, answer.json()) == (200, {"items": []})


async def test_version_is_that_of_the_api_of_python_and_of_the_schema(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/version")

    assert Version.model_validate_json(answer.content) == Version(
        version=version("task-api"), python=platform.python_version(), schema_revision=SCHEMA_REVISION
    )


async def test_version_is_said_without_a_database_and_the_lists_are_not(
    open_parts: Callable[..., AbstractAsyncContextManager[ApiParts]], open_client: Callable[..., Any]
) -> None:
    async with open_parts("postgresql://nobody@127.0.0.1:1/none") as parts, open_client(parts) as client:
        said = await client.get("/api/v1/version")
        listed = [await client.get(f"/api/v1/{path}") for path in ("workers", "types")]

    assert (said.status_code, said.json()["schema_revision"]) == (200, None)
    assert [answer.status_code for answer in listed] == [503, 503]
