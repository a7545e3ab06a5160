"""The command `task-api`.

Modules are imported in the functions that use them, so that `check` does not load the web framework.
"""

from __future__ import annotations

import sys
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


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
