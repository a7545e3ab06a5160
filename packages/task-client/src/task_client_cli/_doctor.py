"""The command `doctor`: whether the service is reached, takes the key and is well, its versions and its clock."""

from __future__ import annotations

import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import typer

from task_client_cli._command import command
from task_client_cli._exits import ExitCode
from task_client_cli._key_check import check_key
from task_client_cli._session import Session
from task_client_cli._times import span_text

if TYPE_CHECKING:
    import httpx2

    from task_client import TaskClient
    from task_client_cli._output import Output

_SKEW_SECONDS_MAX = 5.0
"""Above it, times that a person types mean something else to the service."""


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    command(app, "doctor")(doctor)


def doctor(session: Session) -> int:
    """Say whether the service is reached and well, what the key may do, what runs there, and if the clocks agree."""
    from task_client import HealthStatus, RepeatPolicy

    facts = _Facts(session.out)
    facts.add("server", session.server.url, str(session.server))
    facts.add("client", version("task-client"), f"task-client {version('task-client')}")
    clock = _Clock()
    client = session.new_client(transport=clock.transport(), repeats=RepeatPolicy(tries=1))
    began = time.monotonic()
    client.health()  # an error says why it is not reached
    seconds = time.monotonic() - began
    facts.add("reached", round(seconds, 3), f"in {span_text(seconds)}")
    key = check_key(session, client)
    facts.add("key", key.value, key.text)
    facts.add("service", *_service(client))
    facts.add("clock", clock.skew_seconds, clock.verdict())
    health = client.ready()
    checks = {name: check.model_dump(mode="json") for name, check in health.checks.items()}
    details = [f"{name}: {one.status}{f' ({one.detail})' if one.detail else ''}" for name, one in health.checks.items()]
    facts.add("check", checks, *details)
    facts.add("status", health.status.value, health.status.value)
    facts.end()
    if health.status is HealthStatus.UNAVAILABLE:
        return ExitCode.UNREACHABLE
    return ExitCode.REFUSED if key.is_refused else ExitCode.DONE


def _service(client: TaskClient) -> tuple[object, str]:
    from task_client import ForbiddenError, NotFoundError, UnauthenticatedError

    try:
        found = client.version()
    except NotFoundError:
        return None, "does not say its version: it is older than this command"
    except (UnauthenticatedError, ForbiddenError):
        return None, "says its version to keys with the scope tasks:read alone"
    text = f"task-api {found.version}, Python {found.python}, schema {found.schema_revision or 'unknown'}"
    return found.model_dump(mode="json"), text


class _Facts:
    """What is found: lines for people as it is found, or one object of JSON in the end."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._value_by_name: dict[str, object] = {}

    def add(self, name: str, value: object, *texts: str) -> None:
        """Take in a fact: its value for JSON, its lines for people."""
        self._value_by_name[name] = value
        if self._out.is_text:
            for text in texts:
                self._out.line(f"{name:<8} {text}")

    def end(self) -> None:
        """Print what has not been printed."""
        if not self._out.is_text:
            self._out.one(self._value_by_name)


class _Clock:
    """Compares the clock of the service with this one, by the Date of its answers: to a second."""

    def __init__(self) -> None:
        self.skew_seconds: float | None = None
        """How far the service's clock is ahead; None if its answers have no date."""

    def transport(self) -> httpx2.BaseTransport:
        """Return a transport that looks at the answers."""
        import httpx2

        clock = self

        class Looking(httpx2.HTTPTransport):
            def handle_request(self, request: httpx2.Request) -> httpx2.Response:
                sent = time.time()
                response = super().handle_request(request)
                clock.note(response.headers.get("date", ""), (sent + time.time()) / 2)
                return response

        return Looking(trust_env=False)

    def note(self, date: str, now: float) -> None:
        """Take in the Date of an answer that came at about `now`."""
        try:
            moment: datetime = parsedate_to_datetime(date)
        except ValueError:
            return
        self.skew_seconds = moment.timestamp() + 0.5 - now  # a Date is cut to the second

    def verdict(self) -> str:
        """Return what is known, for people."""
        if self.skew_seconds is None:
            return "unknown: the answers have no date"
        if abs(self.skew_seconds) <= _SKEW_SECONDS_MAX:
            return "agrees with this machine's"
        place = "ahead of" if self.skew_seconds > 0 else "behind"
        return f"WARNING: the service's is {span_text(abs(self.skew_seconds))} {place} this machine's"
