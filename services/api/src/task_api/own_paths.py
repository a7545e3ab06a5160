"""Answers 405 for the other methods of a call whose path a pattern matches too: `GET /tasks/batch` asks for no task."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


def keep_own_paths(app: FastAPI) -> None:
    """Put a route that refuses before each pattern that would take such a path; call it once all calls are there."""
    routes = app.router.routes
    calls = [route for route in routes if isinstance(route, APIRoute)]
    for path in dict.fromkeys(call.path for call in calls if not call.param_convertors):
        pattern = next((call for call in calls if call.param_convertors and call.path_regex.match(path)), None)
        if pattern is not None:
            routes.insert(routes.index(pattern), Route(path, _NotAllowed(), include_in_schema=False))


class _NotAllowed:
    """Takes every method, since it is no function."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(405)
