"""The service's own PostgreSQL: run while the service runs, in its data folder."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from task_runtime import Misconfigured, RestartPolicy, Supervisor
from task_store.embedded import (
    BinariesNotFoundError,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    WrongMajorVersionError,
    binaries_for,
    find_binaries,
)


@asynccontextmanager
async def embedded_database(
    data_dir: Path, stop: asyncio.Event, restarts: RestartPolicy | None = None
) -> AsyncIterator[EmbeddedPostgres]:
    """Run the embedded PostgreSQL. If it dies it is started again, on the same URL.

    What starts it again is supervised, by `restarts` or the usual policy. If that dies too often, `stop` is set: a
    service must not run on with a database that nobody brings back.

    Raises:
        Misconfigured: it cannot be started.
        LoopKeepsDyingError: at the end, if that is why the service was to stop.

    """
    try:
        postgres = EmbeddedPostgres(data_dir)
        await postgres.start()
    except WrongMajorVersionError as error:
        raise Misconfigured(f"{error}{_how_to_move(data_dir, error)}") from error
    except EmbeddedPostgresError as error:
        raise Misconfigured(str(error)) from error
    supervisor = Supervisor(restarts)
    supervisor.start("embedded_postgres", postgres.watch)
    watching = asyncio.create_task(supervisor.wait())
    watching.add_done_callback(lambda _: stop.set())
    try:
        yield postgres
    finally:
        await supervisor.aclose()
        await postgres.stop()
        await watching


def psql_command(url: str) -> str:
    """Return the shell command that opens the embedded database in psql, for the user who runs the service.

    Args:
        url: that of the running database.

    """
    return shlex.join([_psql(), url])


def _psql() -> str:
    """Return the psql of the PATH, else the one beside the programs of the embedded PostgreSQL."""
    if shutil.which("psql"):
        return "psql"
    bundled = Path(find_binaries().program("psql"))
    return str(bundled) if bundled.exists() else "psql"


def _how_to_move(data_dir: Path, error: WrongMajorVersionError) -> str:
    """Return the commands that move the data to a newer major version of PostgreSQL; empty where it is an older one."""
    if error.found > error.needed:
        return ""
    try:
        by = f"the programs of {error.found} are in {binaries_for(data_dir).folder}"
    except BinariesNotFoundError:
        by = f"the first by the installation that wrote the data, or once PostgreSQL {error.found} is installed"
    at = f"--data-dir {shlex.quote(str(data_dir))}"
    return f" (`task-service backup {at} FILE`, then `task-service restore {at} --replace FILE`; {by})"
