"""Asks before something is done that concerns many tasks."""

from __future__ import annotations

import sys

import typer

from task_client_cli._exits import CommandError, ExitCode


def ask(question: str, otherwise: str) -> None:
    """Ask whether to go on; `otherwise` says what to type where nobody can be asked.

    Raises:
        CommandError: there is nobody to ask, or the answer was no.

    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(ExitCode.USAGE, f"{question} Nobody can be asked here: {otherwise}")
    from task_client_cli._values import printable

    if not typer.confirm(printable(question), err=True):
        raise CommandError(ExitCode.STOPPED, "nothing was changed")
