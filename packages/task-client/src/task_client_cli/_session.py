"""What one run of the command has: which service, how it prints, and the client."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from task_client_cli import _contexts as contexts
from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._key_places import KeyPlace
from task_client_cli._output import Output

if TYPE_CHECKING:
    from task_client import TaskClient

_LOG = logging.getLogger("task_client")
_TRIES = 4
"""A person who waits for an answer learns within some two seconds that nobody is there."""
DEFAULT_SERVER = "http://localhost:9000"


@dataclass(frozen=True)
class Server:
    """The address of a service, where it was found, and where the key for it is; None for none."""

    url: str
    origin: str
    key: KeyPlace | None = None

    def __str__(self) -> str:
        return f"{self.url} ({self.origin})"


def find_server(
    given: str | None,
    context: str | None,
    environment: Mapping[str, str] = os.environ,
    *,
    api_key_env: str | None = None,
) -> Server:
    """Return the service: `--server`, else `--context`, else TASK_SERVER, else the context in use, else this machine.

    The key is in the variable `--api-key-env`, else where the context says, if the service is that of a context.

    Raises:
        CommandError: it is no URL, or there is no such context.

    """
    found = _find(given, context, environment)
    contexts.check_url(found.url)
    return found if api_key_env is None else replace(found, key=KeyPlace.of(api_key_env, None))


def _find(given: str | None, context: str | None, environment: Mapping[str, str]) -> Server:
    if given:
        return Server(given, "--server")
    if context:
        return _of_context(contexts.read(), context)
    if url := environment.get("TASK_SERVER"):
        return Server(url, "TASK_SERVER")
    known = contexts.read()
    if known.used:
        return _of_context(known, known.used)
    return Server(DEFAULT_SERVER, "default")


def _of_context(known: contexts.Contexts, name: str) -> Server:
    return Server(known.server(name), f"context {name}", known.key_by_name.get(name))


@dataclass
class Session:
    """One run of the command."""

    server: Server
    out: Output
    _clients: list[TaskClient] = field(default_factory=list)
    _shown: logging.Handler | None = None

    @property
    def client(self) -> TaskClient:
        """The client of the service, made when it is first needed. It gives up sooner than a program's does."""
        if not self._clients:
            from task_client import RepeatPolicy

            self.new_client(repeats=RepeatPolicy(tries=_TRIES))
        return self._clients[0]

    @cached_property
    def api_key(self) -> str | None:
        """The key for the service, read when it is first needed; None for none.

        Raises:
            CommandError: there is none where it should be, or what is there is no key.

        """
        place = self.server.key
        if place is None:
            return None
        from task_client import KeyText

        text = place.read()
        try:
            KeyText.parse(text)
        except ValueError as error:
            raise CommandError(ExitCode.USAGE, f"there is no key in {place}: {error}") from None
        return text

    def new_client(self, **options: Any) -> TaskClient:
        """Return a client of the service that is closed with the session; `options` are those of `TaskClient`."""
        from task_client import TaskClient

        self._show_warnings()
        client = TaskClient(self.server.url, api_key=self.api_key, **options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        if self._shown is not None:
            _LOG.removeHandler(self._shown)

    def _show_warnings(self) -> None:
        if self._shown is None:
            self._shown = _Shown(self.out)
            _LOG.addHandler(self._shown)


class _Shown(logging.Handler):
    """Says on stderr what the client warns of: that it tries again, that the service is back."""

    def __init__(self, out: Output) -> None:
        super().__init__(logging.WARNING)
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        self._out.say(f"warning: {record.getMessage()}")
