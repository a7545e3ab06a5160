"""Answers only requests for a `Host` that belongs to this service.

A web page can let its own name lead to 127.0.0.1 (DNS rebinding). A browser then takes our answers for that page's own,
and shows it all tasks; but it sends the page's name as `Host`. Names that somebody else can register have a dot. So
addresses, `localhost` and names without a dot are taken, and other names only where the settings list them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from task_api.problems import HOST_NOT_ALLOWED, NO_HOST, respond

_NAME = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_HOST = re.compile(rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>{_NAME})\.?)(?::[0-9]*)?", re.ASCII)

_NO_HOST = respond(NO_HOST)
_NOT_ALLOWED = respond(HOST_NOT_ALLOWED)


class HostCheck:
    """Middleware that answers 421 to a name with a dot that is not listed, 400 where not exactly one host is named.

    Args:
        app: gets all other requests.
        allowed: the names with a dot that are taken, in lower case and without a port.

    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on to the application, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        found = _HOST.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if found is None:
            return _NO_HOST
        if found["ipv6"]:
            return None if _is_address(socket.AF_INET6, found["ipv6"]) else _NO_HOST
        name = found["name"].lower()
        is_ours = "." not in name or name in self._allowed or _is_address(socket.AF_INET, name)
        return None if is_ours else _NOT_ALLOWED


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    # Not by `ipaddress`, which takes ten times as long, for each request.
    try:
        socket.inet_pton(family, text)
    except OSError:
        return False
    return True


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [name.strip().lower().removesuffix(".") for name in value.split(",") if name.strip()]
    if not all(re.fullmatch(_NAME, name) for name in names):
        raise ValueError("must be names of hosts without scheme and port, separated by commas: tasks.example.org")
    return tuple(dict.fromkeys(names))


HostNames = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names of hosts, separated by commas in the environment. Any port belongs to a name; none may be written."""
