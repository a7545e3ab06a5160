"""The commands `pause`, `resume` and `pauses`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from task_client_cli._changing import YesOption
from task_client_cli._command import command
from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._filters import filters_text, word
from task_client_cli._questions import ask
from task_client_cli._session import Session
from task_client_cli._times import moment, seconds_of

if TYPE_CHECKING:
    from task_client import Pause


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for one in (pause, resume, pauses):
        command(app, one.__name__)(one)


def pause(
    session: Session,
    queue: Annotated[str | None, typer.Option("--queue", help="Tasks of this queue.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Tasks of this type.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="Tasks of this priority.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for whoever finds the tasks waiting.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="When it ends by itself: a time.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", help="After how long it ends by itself: a span such as 2h.")
    ] = None,
    yes: YesOption = False,
) -> None:
    """Let no task begin that fits all of these, until `resume`. Those that run go on."""
    chosen: dict[str, Any] = {"queue": queue, "type": type_, "priority": priority}
    filters = {name: value for name, value in chosen.items() if value is not None}
    if "priority" in filters:
        from task_client import Priority

        filters["priority"] = word(filters["priority"], Priority, "priority")
    end = _end(until, for_)
    if not filters and not yes:
        ask(f"pause all tasks on {session.server}?", "add --yes to do it, or --queue, --type or --priority")
    made = session.client.pause(**filters, reason=reason, until=end, every=not filters)
    _show(session, made, f"{filters_text(filters)}: paused {_until(made)}")


def resume(
    session: Session,
    pause_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of pauses, or their beginnings.")],
) -> None:
    """End pauses: what they held back begins."""
    for text in pause_ids:
        ended = session.client.resume(_pause_of(session, text))
        _show(session, ended, f"{filters_text(_covered(ended))}: resumed")


def pauses(
    session: Session, every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False
) -> None:
    """List the pauses that stand."""
    from task_client_cli import _columns as columns

    session.out.many(session.client.list_pauses(include_ended=every), columns.PAUSES, "nothing is paused")


def _end(until: str | None, for_: str | None) -> datetime | None:
    if until is not None and for_ is not None:
        raise CommandError(ExitCode.USAGE, "give --until or --for, not both")
    if for_ is not None:
        return moment(f"{seconds_of(for_):g}s", is_ahead=True)
    return None if until is None else moment(until, is_ahead=True)


def _show(session: Session, shown: Pause, said: str) -> None:
    if not session.out.is_text:
        session.out.one(shown)
        return
    session.out.line(str(shown.id))
    session.out.say(said)


def _until(made: Pause) -> str:
    return "until it is resumed" if made.until is None else f"until {made.until.isoformat(timespec='seconds')}"


def _covered(pause: Pause) -> dict[str, Any]:
    chosen = {"queue": pause.queue, "type": pause.type, "priority": pause.priority}
    return {name: value for name, value in chosen.items() if value is not None}


def _pause_of(session: Session, text: str) -> UUID:
    """Return the id of the pause that somebody typed: its id, or of one that stands the beginning of that.

    Raises:
        CommandError: none is that, or several are.

    """
    try:
        return UUID(text)
    except ValueError:
        pass
    found = [one.id for one in session.client.list_pauses() if str(one.id).startswith(text.lower())]
    if not found:
        raise CommandError(
            ExitCode.REFUSED, f"no pause has an id that begins with {text}: task-client pauses lists them"
        )
    if len(found) > 1:
        raise CommandError(ExitCode.USAGE, f"several pauses have ids that begin with {text}: type more of it")
    return found[0]
