"""The command `task-worker`. It imports the worker only to run one, so that `check` starts quickly."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from task_runtime import ExitCode, exit_process, read_settings, run_process, version_printer
from task_worker.lease.alive_file import AliveFile
from task_worker.settings import WorkerSettings

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Version = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=version_printer("task-worker"), help="Print the version and end."
    ),
]


@_app.callback(invoke_without_command=True)
def run(context: typer.Context, _version: Version = False) -> None:
    """Run tasks until asked to stop. All settings are environment variables: TASK_* and TASK_WORKER_*."""
    if context.invoked_subcommand is not None:
        return
    from task_worker.process import run_worker

    settings = read_settings(WorkerSettings)
    exit_process(run_process(lambda: run_worker(settings), settings))


@_app.command()
def check() -> None:
    """Say whether the worker is alive: exit code 0, else 1. It looks at the file TASK_WORKER_ALIVE_FILE."""
    settings = read_settings(WorkerSettings)
    is_alive, reason = AliveFile(settings.alive_file, settings.lease_seconds).probe()
    typer.echo(reason)
    sys.exit(ExitCode.OK if is_alive else ExitCode.FAILED)


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
