"""The option `--version` of a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version


def version_printer(distribution: str) -> Callable[[bool], None]:
    """Return a callback for an eager option: where the option is given it prints a line and ends the command, code 0.

    The line is the distribution's name and its version, such as `task-api 0.1.0`.
    """

    def print_version(is_asked: bool) -> None:  # typer passes it by position
        if is_asked:
            sys.stdout.write(f"{distribution} {version(distribution)}\n")
            raise SystemExit(0)

    return print_version
