"""The command `task-worker`. It imports the worker only to run one, so that `check` starts quickly.

With `--processes` above 1 this process is the parent of as many others, each of which runs the hidden command `child`.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from task_runtime import ExitCode, exit_process, read_settings, run_process, version_printer
from task_worker.lease.alive_file import AliveFile
from task_worker.settings import WorkerSettings

_app = typer.Typer(pretty_exceptions_enable=False)

Handlers = Annotated[
    str | None,
    typer.Option(help="Modules, files and folders of handlers, by comma, instead of TASK_WORKER_HANDLERS."),
]
Queues = Annotated[str | None, typer.Option(help="The queues to serve, by comma, instead of TASK_WORKER_QUEUES.")]
Concurrency = Annotated[
    int | None, typer.Option(help="How many tasks run at once, instead of TASK_WORKER_CONCURRENCY.")
]
Processes = Annotated[
    int | None, typer.Option(help="How many such workers to run, each in a process, instead of TASK_WORKER_PROCESSES.")
]
Version = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=version_printer("task-worker"), help="Print the version and end."
    ),
]


@_app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    handlers: Handlers = None,
    queues: Queues = None,
    concurrency: Concurrency = None,
    processes: Processes = None,
    _version: Version = False,
) -> None:
    """Run tasks until asked to stop. Everything else is set by environment variables: TASK_* and TASK_WORKER_*."""
    options = {"handlers": handlers, "served_queues": queues, "concurrency": concurrency, "processes": processes}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if context.invoked_subcommand is not None:
        context.obj = given
        return
    settings = read_settings(WorkerSettings, **given)
    if settings.processes > 1:
        from task_worker.processes.parent import run_worker_processes

        exit_process(run_process(lambda: run_worker_processes(settings, sys.argv[1:]), settings))
    from task_worker.process import run_worker

    settings.hide_api_key()
    exit_process(run_process(lambda: run_worker(settings), settings))


@_app.command(hidden=True)
def child(context: typer.Context, number: int) -> None:
    """Run worker process NUMBER of several. Their parent starts it, and it ends when that is gone."""
    from task_worker.process import run_worker
    from task_worker.processes.child import end_with_parent

    end_with_parent()
    settings = read_settings(WorkerSettings, **context.obj).of_process(number)
    settings.hide_api_key()
    exit_process(run_process(lambda: run_worker(settings, number=number), settings, number=number))


@_app.command()
def check(context: typer.Context) -> None:
    """Say whether the worker is alive: exit code 0, else 1. It looks at the file TASK_WORKER_ALIVE_FILE."""
    settings = read_settings(WorkerSettings, **context.obj)
    is_alive, reason = AliveFile(settings.alive_file, settings.lease_seconds).probe()
    typer.echo(reason)
    sys.exit(ExitCode.OK if is_alive else ExitCode.FAILED)


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
