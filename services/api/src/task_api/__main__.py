"""The command `task-api`.

Modules are imported in the functions that use them, so that `check` does not load the web framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from task_api.settings import ApiSettings
from task_contracts import printable_text
from task_runtime import ExitCode, exit_process, read_settings, run_process, version_printer

_app = typer.Typer(pretty_exceptions_enable=False)

Host = Annotated[str | None, typer.Option(help="The address to listen on, instead of TASK_API_HOST.")]
Port = Annotated[int | None, typer.Option(help="The port, instead of TASK_API_PORT; 0 takes a free one.")]
Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=version_printer("task-api"), help="Print the version and end."),
]


_keys = typer.Typer(help="Create, list and revoke keys, on the database: for the first key, and for lost ones.")
_app.add_typer(_keys, name="keys")


@_app.callback(invoke_without_command=True)
def run(context: typer.Context, host: Host = None, port: Port = None, _version: Version = False) -> None:
    """Serve the API until asked to stop. Everything else is set by environment variables: TASK_* and TASK_API_*."""
    given: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    if context.invoked_subcommand is not None:
        context.obj = given
        return
    from task_api.process import run_api

    settings = read_settings(ApiSettings, **given)
    exit_process(run_process(lambda: run_api(settings), settings))


@_app.command()
def check(context: typer.Context) -> None:
    """Ask the API on this machine whether it is ready, and print its status: exit code 0 if it is ready, else 1."""
    from task_api.probe import probe

    is_ready, line = probe(read_settings(ApiSettings, **context.obj))
    typer.echo(printable_text(line))
    sys.exit(ExitCode.OK if is_ready else ExitCode.FAILED)


@_keys.command("create")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="For people: what uses the key.")],
    scope: Annotated[
        list[str], typer.Option(help="What it may do, such as tasks:write; repeated or separated by commas; or all.")
    ],
    owner: Annotated[str | None, typer.Option(help="Whom it acts for; else itself.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="From when on it is refused, as 2026-12-31T00:00:00Z; else it does not expire.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="A file with the text of a key that was made elsewhere; harmless to repeat.")
    ] = None,
) -> None:
    """Create a key and print its text, this once, on stdout; nothing is printed of one that a file has."""
    from task_api.keys_command import create

    _run_on_database(context, lambda settings: create(settings, name, scope, owner, expires_at, key_file))


@_keys.command("list")
def list_keys(context: typer.Context) -> None:
    """Print the keys, one on a line: the valid ones first."""
    from task_api.keys_command import show

    _run_on_database(context, show)


@_keys.command("revoke")
def revoke_key(context: typer.Context, key_id: Annotated[str, typer.Argument(help="The id of the key.")]) -> None:
    """Revoke a key. Other processes hear of it over the broker; without, they take it for up to 30 s more."""
    from task_api.keys_command import revoke

    _run_on_database(context, lambda settings: revoke(settings, key_id))


def _run_on_database(context: typer.Context, work: Callable[[ApiSettings], Coroutine[Any, Any, ExitCode]]) -> None:
    # The log begins at WARNING: the text of the command says what was done.
    from task_api.keys_command import ended

    settings = read_settings(ApiSettings, **{"log_level": "WARNING", **_given(context)})
    exit_process(run_process(lambda: ended(work(settings)), settings))


def _given(context: typer.Context) -> dict[str, Any]:
    given: dict[str, Any] = context.find_root().obj
    return given


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
