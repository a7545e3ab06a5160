"""The application: all commands, and the options that stand before them."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from typer.main import get_command

from task_client_cli import (
    _changing,
    _context_commands,
    _creating,
    _doctor,
    _key_commands,
    _looking,
    _pausing,
    _watching,
)
from task_client_cli._command import ApiKeyEnvOption, ContextOption, ServerOption, ended
from task_client_cli._output import Format, Output
from task_client_cli._streams import guard

_NAME = "task-client"
_IN_FRONT = frozenset({"--server", "--context", "--api-key-env"})

app = typer.Typer(
    name=_NAME,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: quick, and it fits any terminal
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 done, 1 the task FAILED or was CANCELLED (wait), 2 usage, 3 refused, 4 not reachable, 5 timed "
        "out, 70 a fault of the command, 74 stdout cannot be written, 130 stopped by Ctrl-C."
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
    ctx: typer.Context,
    server: ServerOption = None,
    context: ContextOption = None,
    api_key_env: ApiKeyEnvOption = None,
    _version: VersionOption = False,
) -> None:
    """Create tasks, follow them, and see what is wrong."""
    ctx.obj = {"server": server, "context": context, "api_key_env": api_key_env}


for _part in (_creating, _looking, _watching, _changing, _pausing, _key_commands, _doctor, _context_commands):
    _part.add_to(app)


def run() -> None:
    """Run the command."""
    raise SystemExit(ended(Output(Format.TEXT), _run))


def _run() -> None:
    """Call the command that is typed, with the options in front of it behind it.

    So typer has none to read before it comes to a `--help`: typer 0.29 imports pydantic to read any, and
    `task-client list --help` would take as long as a request.
    """
    guard()
    chosen, names, in_front, words = get_command(app), [_NAME], list[str](), sys.argv[1:]
    settings = chosen.context_settings
    while words and hasattr(chosen, "commands"):
        if words[0].partition("=")[0] in _IN_FRONT:
            count = 1 if "=" in words[0] else 2
            in_front, words = [*in_front, *words[:count]], words[count:]
        elif found := chosen.commands.get(words[0]):
            chosen, names, words = found, [*names, words[0]], words[1:]
        else:
            break
    try:
        chosen([*in_front, *words], prog_name=" ".join(names), **settings)
    finally:
        sys.stdout.flush()  # here it can still be said that this fails
