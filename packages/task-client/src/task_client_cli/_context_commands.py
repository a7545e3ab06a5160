"""The commands `context add|list|use|show`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from task_client_cli import _contexts as contexts
from task_client_cli._exits import CommandError
from task_client_cli._session import find_server

NameArgument = Annotated[str, typer.Argument(help="The context's name.")]

_app = typer.Typer(no_args_is_help=True, help="Services by name.", rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(_app, name="context")


@_app.command()
def add(name: NameArgument, server: Annotated[str, typer.Argument(metavar="URL", help="Its address.")]) -> None:
    """Add a context, or change its server. The first one is used from then on."""
    _refused_or(lambda: contexts.write(contexts.read().with_server(name, server)))


@_app.command()
def use(name: NameArgument) -> None:
    """Use this context from now on."""
    _refused_or(lambda: contexts.write(contexts.read().using(name)))


@_app.command("list")
def list_() -> None:
    """List the contexts; a star marks the one in use."""

    def print_all() -> None:
        known = contexts.read()
        for name, server in sorted(known.server_by_name.items()):
            sys.stdout.write(f"{'*' if name == known.used else ' '} {name}\t{server}\n")

    _refused_or(print_all)


@_app.command()
def show() -> None:
    """Show which server commands would talk to now, and why."""
    _refused_or(lambda: sys.stdout.write(f"{find_server(None, None)}\n"))


def _refused_or(run: Callable[[], object]) -> None:
    try:
        run()
    except CommandError as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(error.code) from None
