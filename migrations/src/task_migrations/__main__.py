"""The command `task-migrate`."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from alembic.util import CommandError

from task_migrations.upgrades import head, upgrade
from task_store import StoreError, UnmigratableSchemaError, UnusableDatabaseError

_app = typer.Typer(pretty_exceptions_enable=False)
_SECRET = Path("/run/secrets/TASK_DATABASE_URL")
"""Where Docker and Kubernetes put the URL, and where every process of the service reads it."""


def _print_version(is_asked: bool) -> None:  # typer passes it by position
    if is_asked:
        typer.echo(f"task-migrate {version('task-migrations')}")
        raise typer.Exit


def _secret() -> str:
    try:
        return _SECRET.read_text().strip()
    except OSError:
        raise typer.BadParameter(f"is not set, and {_SECRET} cannot be read", param_hint="TASK_DATABASE_URL") from None


@_app.command()
def migrate(
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="TASK_DATABASE_URL",
            help="postgresql://user:password@host:5432/tasks; else /run/secrets/TASK_DATABASE_URL is read.",
        ),
    ] = None,
    revision: Annotated[str, typer.Option(help="The revision to reach.")] = "head",
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for the database and for locks.")] = 60.0,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
) -> None:
    """Bring the database to the newest schema. Safe to repeat, and to run several times at once."""
    try:
        asyncio.run(upgrade(database_url or _secret(), revision=revision, deadline_seconds=wait_seconds))
    except UnusableDatabaseError as error:
        typer.echo(f"TASK_DATABASE_URL: {error.advice}", err=True)
        raise typer.Exit(2) from None
    except CommandError as error:
        typer.echo(f"--revision {revision}: {error}", err=True)
        raise typer.Exit(2) from None
    except UnmigratableSchemaError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except StoreError as error:
        typer.echo(f"the migration did not take place: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"the schema is at revision {head() if revision == 'head' else revision}")


def main() -> None:
    """Run the command."""
    _app()


if __name__ == "__main__":
    main()
