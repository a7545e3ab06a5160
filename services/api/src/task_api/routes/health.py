"""The health calls, at the root: for orchestrators, which ask often and read the status code."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from task_api.deadlines import answer_within
from task_api.openapi import answer
from task_api.parts import ApiParts
from task_api.problems import ProblemError
from task_api.readiness import readiness
from task_contracts import Health, HealthCheck, HealthStatus
from task_store import StoreError


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class HealthCalls:
    """The health calls, one method each."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    async def get_liveness(self) -> Response:
        """Answer while the process runs, whatever the database does. Restart the process where this fails."""
        return _json(Liveness())

    async def get_readiness(self, request: Request) -> Response:
        """Answer whether to send callers here: 503 without the database, or while the process stops.

        `degraded` (200) means that tasks are accepted and kept, but something needs attention: the broker is away, or
        a queue has no worker. Where calls need keys, what is wrong is said to whoever has one, whatever its scopes.
        """
        found, is_known = await asyncio.gather(readiness(self._parts), self._is_known(request))
        shown = found if is_known else Health(status=found.status)
        return _json(shown, 200 if found.is_ready else 503)

    async def _is_known(self, request: Request) -> bool:
        """Return whether the caller has a key; not, where only a database that does not answer would know."""
        access, scope = self._parts.access, request.scope
        try:
            is_cached = access.cached(scope) is not None
            return is_cached or bool(await answer_within(self._parts.deadlines.check_seconds, access.caller(scope)))
        except (ProblemError, StoreError, TimeoutError):
            return False


def add_health_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the health calls to the application's own router."""
    calls = HealthCalls(parts)
    add = partial(router.add_api_route, tags=["health"])
    add(
        "/health/live",
        calls.get_liveness,
        operation_id="get_liveness",
        responses={200: answer(Liveness, "The process answers", {"status": "ok"})},
    )
    add(
        "/health/ready",
        calls.get_readiness,
        operation_id="get_readiness",
        responses={
            200: answer(Health, "Send callers here", _DEGRADED),
            503: answer(Health, "Send callers elsewhere", _UNAVAILABLE),
        },
    )


def _json(shown: BaseModel, status: int = 200) -> Response:
    return Response(shown.model_dump_json(), status, {"Cache-Control": "no-store"}, media_type="application/json")


_OK = HealthCheck(status=HealthStatus.OK)
_UNSERVED = HealthCheck(status=HealthStatus.DEGRADED, detail="no live worker serves reports")
_AWAY = HealthCheck(status=HealthStatus.UNAVAILABLE, detail="the database does not answer (TimeoutError)")
_UNKNOWN = HealthCheck(status=HealthStatus.UNAVAILABLE, detail="unknown without the database")
_DEGRADED = Health(
    status=HealthStatus.DEGRADED, checks={"database": _OK, "schema": _OK, "workers": _UNSERVED, "broker": _OK}
).model_dump(mode="json")
_UNAVAILABLE = Health(
    status=HealthStatus.UNAVAILABLE,
    checks={"database": _AWAY, "schema": _UNKNOWN, "workers": _UNKNOWN, "broker": _OK},
).model_dump(mode="json")
