"""Starts the command `task-client`, or says what is missing where the extra `cli` is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_USAGE = 2


def main() -> None:
    """Run the command."""
    if missing := [name for name in ("typer", "rich") if find_spec(name) is None]:
        sys.stderr.write(f"error: {' and '.join(missing)} missing: the command needs the extra cli, task-client[cli]\n")
        raise SystemExit(_USAGE)
    from task_client_cli._app import run

    run()


if __name__ == "__main__":
    main()
