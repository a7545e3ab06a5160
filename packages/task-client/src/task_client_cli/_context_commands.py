"""The commands `context add|list|use|show`."""

from __future__ import annotations

from typing import Annotated

import typer

from task_client_cli import _contexts as contexts
from task_client_cli._command import command
from task_client_cli._key_places import KeyPlace
from task_client_cli._output import Output
from task_client_cli._session import Session

NameArgument = Annotated[str, typer.Argument(help="The context's name.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Services by name.", rich_markup_mode=None)
    command(group, "add", is_local=True)(add)
    command(group, "use", is_local=True)(use)
    command(group, "list", is_local=True)(list_)
    command(group, "show")(show)
    app.add_typer(group, name="context")


def add(
    _out: Output,
    name: NameArgument,
    server: Annotated[str, typer.Argument(metavar="URL", help="Its address.")],
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="VARIABLE", help="The variable that holds the key for it.")
    ] = None,
    api_key_command: Annotated[
        str | None,
        typer.Option("--api-key-command", metavar="COMMAND", help="The command that prints the key for it."),
    ] = None,
) -> None:
    """Add a context, or replace one. The first one is used from then on."""
    place = KeyPlace.of(api_key_env, api_key_command)
    contexts.write(contexts.read().with_server(name, server, place))


def use(_out: Output, name: NameArgument) -> None:
    """Use this context from now on."""
    contexts.write(contexts.read().using(name))


def list_(out: Output) -> None:
    """List the contexts, and which one is in use."""
    from task_client_cli._tables import Column

    columns = (
        Column("NAME", lambda row: row["name"]),
        Column("USED", lambda row: row["is_used"]),
        Column("SERVER", lambda row: row["server"]),
        Column("KEY", lambda row: row["key"]),
    )
    known = contexts.read()
    rows = [
        {"name": name, "server": server, "is_used": name == known.used, "key": _text(known.key_by_name.get(name))}
        for name, server in sorted(known.server_by_name.items())
    ]
    out.many(rows, columns, "no context yet")


def show(session: Session) -> None:
    """Show which server commands would talk to now, why, and from where they would have the key."""
    server = session.server
    if not session.out.is_text:
        session.out.one({"server": server.url, "origin": server.origin, "key": _text(server.key)})
        return
    session.out.line(str(server))
    if server.key is not None:
        session.out.line(f"with the key from {server.key}")


def _text(key: KeyPlace | None) -> str | None:
    return None if key is None else str(key)
