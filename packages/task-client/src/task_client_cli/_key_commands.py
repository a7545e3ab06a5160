"""The commands `keys list|create|revoke`."""

from __future__ import annotations

from typing import Annotated

import typer

from task_client_cli._command import command
from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._session import Session
from task_client_cli._times import moment

_KEY_BEGINS = "ts_"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Keys of callers.", rich_markup_mode=None)
    command(group, "list")(list_)
    command(group, "create")(create)
    command(group, "revoke")(revoke)
    app.add_typer(group, name="keys")


def list_(
    session: Session,
    every: Annotated[bool, typer.Option("--all", help="Also those that are revoked or expired.")] = False,
) -> None:
    """List the keys, without their secrets."""
    from task_client_cli import _columns as columns

    session.out.many(session.client.list_keys(include_revoked=every), columns.KEYS, "no key")


def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="For people: what uses the key.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            help="tasks:read, tasks:payload, tasks:write, operate, keys or metrics; several by comma, or repeated.",
        ),
    ],
    owner: Annotated[
        str | None,
        typer.Option("--owner", help="Whom it acts for; a new key of the same owner goes on for an old one."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="When it is refused from: a time, or a span (90d: ahead).")
    ] = None,
) -> None:
    """Create a key and print it: this once, on stdout alone."""
    scopes = [word.strip() for text in scope for word in text.split(",")]
    ends = None if expires is None else moment(expires, is_ahead=True)
    created = session.client.create_key(name, scopes, owner=owner, expires_at=ends)
    if not session.out.is_text:
        session.out.one(created)
        return
    session.out.line(created.key)
    allowed = ", ".join(one.value for one in created.scopes)
    session.out.say(f"the key {created.id} of {created.owner} may {allowed}; it is shown this once")


def revoke(
    session: Session, key_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, as `list` shows them.")]
) -> None:
    """Revoke keys. Within half a minute the service refuses them."""
    if any(text.startswith(_KEY_BEGINS) for text in key_ids):
        said = "that is a whole key: give its id, the 12 characters between its two underscores"
        raise CommandError(ExitCode.USAGE, said)
    for key_id in key_ids:
        session.client.revoke_key(key_id)
        session.out.say(f"{key_id} is revoked")
