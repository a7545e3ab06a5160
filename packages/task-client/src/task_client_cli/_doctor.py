"""The command `doctor`: whether the service is reached, whether it is well, its versions and its clock."""

from __future__ import annotations

import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import typer

from task_client_cli._command import command
from task_client_cli._exits import ExitCode
from task_client_cli._session import Session
from task_client_cli._times import span_text

if TYPE_CHECKING:
    import httpx2

    from task_client import TaskClient

_SKEW_SECONDS_MAX = 5.0
"""Above it, times that a person types mean something else to the service."""


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    command(app, "doctor")(doctor)


def doctor(session: Session) -> int:
    """Say whether the service is reached and well, what runs there, and whether its clock and this one agree."""
    from task_client import NotFoundError, RepeatPolicy

    out = session.out
    out.line(f"server   {session.server}")
    out.line(f"client   task-client {version('task-client')}")
    clock = _Clock()
    client = session.new_client(transport=clock.transport(), repeats=RepeatPolicy(tries=1))
    began = time.monotonic()
    client.health()  # an error says why it is not reached
    out.line(f"reached  in {span_text(time.monotonic() - began)}")
    try:
        found = client.version()
        out.line(
            f"service  task-api {found.version}, Python {found.python}, schema {found.schema_revision or 'unknown'}"
        )
    except NotFoundError:
        out.line("service  does not say its version: it is older than this command")
    out.line(f"clock    {clock.verdict()}")
    return _check(session, client)


def _check(session: Session, client: TaskClient) -> int:
    from task_client import HealthStatus

    health = client.ready()
    for name, check in health.checks.items():
        session.out.line(f"check    {name}: {check.status}{f' ({check.detail})' if check.detail else ''}")
    session.out.line(f"status   {health.status}")
    return ExitCode.UNREACHABLE if health.status is HealthStatus.UNAVAILABLE else ExitCode.DONE


class _Clock:
    """Compares the clock of the service with this one, by the Date of its answers: to a second."""

    def __init__(self) -> None:
        self._skew: float | None = None

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
        self._skew = moment.timestamp() + 0.5 - now  # a Date is cut to the second

    def verdict(self) -> str:
        """Return what is known, for people."""
        if self._skew is None:
            return "unknown: the answers have no date"
        if abs(self._skew) <= _SKEW_SECONDS_MAX:
            return "agrees with this machine's"
        place = "ahead of" if self._skew > 0 else "behind"
        return f"WARNING: the service's is {span_text(abs(self._skew))} {place} this machine's"
