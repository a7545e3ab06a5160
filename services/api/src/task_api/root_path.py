"""Serves the API below a path, such as /tasks-service, behind a proxy that takes that path off or leaves it.

All the rest of the application knows only its own paths; the pages of the documentation name their files relatively.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROOT_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*")


class BelowRootPath:
    """Middleware that takes the root path off a request that still has it, and puts it before a path in `Location`.

    A path is taken for one with the root path only if what follows is one of ours: with `/api` as the root path,
    `/api/v1/tasks` comes from a proxy that has taken it off, and `/api/api/v1/tasks` from one that has not.

    Args:
        app: gets every request as if there were no root path.
        root_path: begins with a slash, and ends without one.
        routes: the application's; read when the first request comes.

    """

    def __init__(self, app: ASGIApp, root_path: str, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._root_path = root_path
        self._ours = frozenset(_first_segment(route.path) for route in routes if isinstance(route, Route))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on to the application, and send its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_prefixed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(name, self._outer(name, value)) for name, value in message["headers"]]
            await send(message)

        await self._app({**scope, "path": self._inner(scope["path"])}, receive, send_prefixed)

    def _inner(self, path: str) -> str:
        inner = path.removeprefix(self._root_path)
        return inner if inner.startswith("/") and _first_segment(inner) in self._ours else path

    def _outer(self, name: bytes, value: bytes) -> bytes:
        return self._root_path.encode() + value if name == b"location" and value.startswith(b"/") else value


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1]


def _check(text: str) -> str:
    if not _ROOT_PATH.fullmatch(text):
        raise ValueError(
            "must be a path of letters, digits and ._~-, with a slash before each part and none at its end:"
            " /tasks-service"
        )
    return text


RootPath = Annotated[str, AfterValidator(_check)]
"""The path below which a proxy serves the API; empty for none."""
