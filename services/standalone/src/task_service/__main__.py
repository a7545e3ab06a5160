"""The command `task-service`.

Modules are imported in the functions that use them: `backup` and `restore` need few.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from task_runtime import exit_process, run_process, version_printer
from task_service.options import Options, Settings, default_data_dir

_app = typer.Typer(pretty_exceptions_enable=False)

DataDirOption = Annotated[
    Path | None, typer.Option(help="Where the embedded database is kept (~/.local/share/task-service).")
]

Version = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=version_printer("task-service"), help="Print the version and end."
    ),
]


@_app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="The address to listen on (TASK_API_HOST, 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The port (TASK_API_PORT, 9000); 0 takes a free one.")] = None,
    data_dir: DataDirOption = None,
    handlers: Annotated[
        str | None, typer.Option(help="A module, file or folder with handlers (TASK_WORKER_HANDLERS).")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Load the handlers again when one of their files changes.")
    ] = False,
    _version: Version = False,
) -> None:
    """Run the whole task service in one process, with a PostgreSQL of its own.

    With TASK_DATABASE_URL or TASK_BROKER_URL set it uses those servers.
    """
    options = Options(host, port, (data_dir or default_data_dir()).absolute(), handlers, is_reloading=reload)
    if context.invoked_subcommand is not None:
        context.obj = options
        return
    from task_service.service import run_service

    exit_process(run_process(lambda: run_service(options), Settings.read(options).api))


@_app.command()
def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the dump; - is standard output.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE where it exists.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Write a dump of the embedded database to FILE, whether the service runs or not."""
    from task_service.backup import backup
    from task_service.commands import run_command

    options: Options = context.obj
    exit_process(run_command(lambda: backup(options.own_data_dir(data_dir), file, overwrites=force)))


@_app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A dump: of `backup`, or of `pg_dump --format=custom`.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a database that holds tasks; its files are kept aside.")
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make the dump in FILE the embedded database; the next start of the service goes on with it."""
    from task_service.commands import run_command
    from task_service.restore import restore

    options: Options = context.obj
    exit_process(run_command(lambda: restore(options.own_data_dir(data_dir), file, replaces=replace)))


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
