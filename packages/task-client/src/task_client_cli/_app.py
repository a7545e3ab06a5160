"""The application: all commands, and the options that stand before them."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from typer.main import get_command

from task_client_cli import _changing, _context_commands, _creating, _doctor, _looking, _watching
from task_client_cli._command import ContextOption, ServerOption

_NAME = "task-client"

app = typer.Typer(
    name=_NAME,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: quick, and it fits any terminal
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 the task FAILED or was CANCELLED (wait), 2 usage, 3 refused, 4 not reachable, 5 timed "
        "out, 130 stopped by Ctrl-C."
    ),
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"task-client {version('task-client')}\n")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
]


@app.callback()
def front(
    ctx: typer.Context, server: ServerOption = None, context: ContextOption = None, _version: VersionOption = False
) -> None:
    """Create tasks, follow them, and see what is wrong."""
    ctx.obj = {"server": server, "context": context}


for _part in (_creating, _looking, _watching, _changing, _doctor, _context_commands):
    _part.add_to(app)


def run() -> None:
    """Run the command.

    Where a command stands first there are no options before it to be read: typer 0.29 imports pydantic to read any, so
    `task-client list --help` would take as long as a request.
    """
    front_command = get_command(app)
    first, *rest = sys.argv[1:] or [""]
    chosen = getattr(front_command, "commands", {}).get(first)
    if chosen is None:
        front_command(prog_name=_NAME)
    else:
        chosen(rest, prog_name=f"{_NAME} {first}")
