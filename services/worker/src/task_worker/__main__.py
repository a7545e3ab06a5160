"""The command `task-worker`."""

from __future__ import annotations

import sys

import typer

from task_runtime import read_settings, run_process
from task_worker.process import run_worker
from task_worker.settings import WorkerSettings

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.callback(invoke_without_command=True)
def run() -> None:
    """Run tasks until asked to stop. Everything is set by environment variables: TASK_* and TASK_WORKER_*."""
    settings = read_settings(WorkerSettings)
    sys.exit(run_process(lambda: run_worker(settings), settings))


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
