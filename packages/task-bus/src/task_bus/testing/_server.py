"""The interface of a RabbitMQ server for tests, wherever it comes from."""

from __future__ import annotations

import base64
import time
import urllib.request
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Uses no proxy: one that the environment names must not see the passwords of servers for tests."""


class NoServerError(Exception):
    """No RabbitMQ is available; the text says in one line what to do."""


class VirtualHosts(Protocol):
    """A broker on which tests may have virtual hosts. All calls block; on an event loop use a thread."""

    def url(self, vhost: str) -> str:
        """Return the URL of a virtual host."""

    def add_vhost(self, vhost: str) -> None:
        """Create an empty virtual host."""

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host, all that is in it and all connections to it."""


class RabbitServer(VirtualHosts, Protocol):
    """A private RabbitMQ server."""

    management_url: str
    """Where its management API listens."""

    def url(self, vhost: str = "/") -> str:
        """Return the URL of a virtual host."""

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl and return what it prints.

        Raises:
            RuntimeError: it failed.

        """

    def start(self) -> None:
        """Start it and wait until it accepts connections. After `stop` or `kill` its URL and data are as before.

        Raises:
            NoServerError: it does not start.

        """

    def stop(self) -> None:
        """Stop it in an orderly way."""

    def kill(self) -> None:
        """End it at once, as kill -9 does."""

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""

    def resume(self) -> None:
        """Let it go on after `pause`."""

    def close(self) -> None:
        """End it for good, with its data. Safe to repeat."""


class ManagementApi:
    """The few calls to the management API that tests need. They take 25 ms; rabbitmqctl takes 350."""

    def __init__(self, url: str) -> None:
        """`url` is where the management plugin listens, such as `http://guest:guest@127.0.0.1:15672`."""
        parts = urlsplit(url)
        self._user, password = unquote(parts.username or ""), unquote(parts.password or "")
        self._token = base64.b64encode(f"{self._user}:{password}".encode()).decode()
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/api"

    def put(self, kind: str, *names: str, body: bytes = b"{}") -> None:
        """Create or change something."""
        self._call("PUT", kind, *names, body=body)

    def delete(self, kind: str, *names: str) -> None:
        """Delete something."""
        self._call("DELETE", kind, *names)

    def add_vhost(self, vhost: str) -> None:
        """Create a virtual host in which our user may do everything."""
        self.put("vhosts", vhost)
        self.put("permissions", vhost, self._user, body=b'{"configure": ".*", "write": ".*", "read": ".*"}')

    def _call(self, method: str, kind: str, *names: str, body: bytes | None = None) -> None:
        path = "/".join([kind, *(quote(name, safe="") for name in names)])
        headers = {"Authorization": f"Basic {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._base}/{path}", body, headers, method=method)  # noqa: S310 # a server for tests
        with _DIRECT.open(request, timeout=30):
            pass


def wait_until(happened: Callable[[], bool], seconds: float, what: str) -> None:
    """Call `happened` every 50 ms until it returns True.

    Raises:
        NoServerError: it did not within `seconds`; the text has `what`, which says what was waited for.

    """
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise NoServerError(f"RabbitMQ: {what} took longer than {seconds:g} s")
        time.sleep(0.05)
