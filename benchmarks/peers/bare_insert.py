# /// script
# requires-python = ">=3.11"
#
# [tool.benchmark]
# title = "bare FastAPI and asyncpg"
# pages = ["https://fastapi.tiangolo.com/tutorial/body/", "https://magicstack.github.io/asyncpg/current/usage.html"]
# how = "the same rows into the same table: POST by one INSERT, a batch by asyncpg alone, unnest of 1,000 rows"
# needs = ["postgres", "rabbitmq"]
# drained = 0
# outcomes = "SELECT count(*) FROM tasks"
# in_workspace = true
# is_served = true
# ///
"""What POST costs at least: FastAPI checks the body, asyncpg inserts the row, and nothing else is done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel
from uuid_utils.compat import uuid7

from _peer import DATABASE_URL, HTTP_URL, main
from service_tasks import ServicePeer

CONNECTIONS = 5
"""As many as the API has by default."""
ROWS = 1_000
_COLUMNS = "id, name, type, queue, priority, status, payload, payload_bytes, labels, created_at, due_at"
_REST = "'noop', 'default', 'MEDIUM', 'NEW'"
_ONE = f"""
    INSERT INTO tasks ({_COLUMNS})
    VALUES ($1, $2, {_REST}, $3::text::json, octet_length($3::text), '{{}}',
            statement_timestamp(), statement_timestamp())
    RETURNING created_at"""
_MANY = f"""
    INSERT INTO tasks ({_COLUMNS})
    SELECT id, name, {_REST}, payload::json, octet_length(payload), '{{}}',
           statement_timestamp(), statement_timestamp()
      FROM unnest($1::uuid[], $2::text[], $3::text[]) AS asked (id, name, payload)"""


class NewTask(BaseModel):
    """The body of a POST."""

    name: str
    type: str
    payload: dict[str, Any]


class Created(BaseModel):
    """The answer to it."""

    id: UUID
    name: str
    created_at: datetime


class BareInsert(ServicePeer):
    """The tables are those of the service."""

    async def open(self) -> None:
        self._connection = await asyncpg.connect(DATABASE_URL)

    async def many(self, numbers: Sequence[int]) -> None:
        for first in range(0, len(numbers), ROWS):
            some = numbers[first : first + ROWS]
            payloads = [json.dumps({"number": number}) for number in some]
            await self._connection.execute(_MANY, [uuid7() for _ in some], ["bench"] * len(some), payloads)

    async def close(self) -> None:
        await self._connection.close()

    def serve(self) -> None:
        port = int(HTTP_URL.rpartition(":")[2])
        uvicorn.run(_app(), port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


def _app() -> FastAPI:
    @asynccontextmanager
    async def connected(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(DATABASE_URL, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=connected)

    @app.get("/health/ready")
    async def ready() -> None:
        return None

    @app.post("/api/v1/tasks", status_code=201)
    async def create(task: NewTask, request: Request) -> Created:
        id_ = uuid7()
        created_at = await request.app.state.pool.fetchval(_ONE, id_, task.name, json.dumps(task.payload))
        return Created(id=id_, name=task.name, created_at=created_at)

    return app


if __name__ == "__main__":
    main(BareInsert())
