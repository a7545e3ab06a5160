"""The command `task-service`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from task_runtime import run_process
from task_service.options import Options, Settings, default_data_dir
from task_service.service import run_service

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def run(
    host: Annotated[str | None, typer.Option(help="The address to listen on (TASK_API_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The port (TASK_API_PORT, 9000); 0 takes a free one.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the embedded database is kept (~/.local/share/task-service).")
    ] = None,
    handlers: Annotated[
        str | None, typer.Option(help="A module, file or folder with handlers (TASK_WORKER_HANDLERS).")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Load the handlers anew when a file of theirs changes.")
    ] = False,
) -> None:
    """Run the whole task service in one process, with a PostgreSQL of its own.

    With TASK_DATABASE_URL or TASK_BROKER_URL set it uses those.
    """
    options = Options(host, port, data_dir or default_data_dir(), handlers, is_reloading=reload)
    sys.exit(run_process(lambda: run_service(options), Settings.read(options).api))


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
