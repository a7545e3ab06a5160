"""Opens the database that a data folder holds, for a while, whether its service runs or not.

**Invariants**
- It is run by programs of the major version that wrote it, even if a service would now prefer others.
- A running service is not disturbed: its database is reached over its socket and goes on running.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from task_store.embedded._binaries import PostgresBinaries, find_binaries_of
from task_store.embedded._data_dir import DataDir
from task_store.embedded._programs import run_program
from task_store.embedded._socket_folder import socket_url
from task_store.embedded._supervisor import DATABASE, EmbeddedPostgres
from task_store.embedded._timings import USUAL_TIMINGS, ServerTimings
from task_store.embedded.errors import DataDirInUseError

_POLL_SECONDS = 0.05
_LOCK_TIMEOUT = "30s"
_STANDARD_OUTPUT = 1


@dataclass(frozen=True)
class ExistingDatabase:
    """A database that answers at `url`, and the programs of its version."""

    url: str
    binaries: PostgresBinaries

    async def dump(self, file: Path | None) -> None:
        """Write a dump in pg_dump's custom format to a file, or to this process's standard output if it is None.

        The dump shows the database at one moment. A file is synced to disk. There is no time limit. A call that fails
        or is cancelled leaves an incomplete dump.

        Raises:
            ProgramFailedError: pg_dump failed. Its text says why.

        """
        options = ["--format=custom", f"--lock-wait-timeout={_LOCK_TIMEOUT}", f"--dbname={self.url}", "--no-password"]
        if file is not None:
            # Not through standard output: pg_dump syncs a file itself, and a file that was cut short is noticed. To its
            # standard output it appends a second table of contents (18.6), of which a part can be missing unnoticed.
            options.append(f"--file={file.absolute()}")  # noqa: ASYNC240 # does not touch the disk
        await run_program(self.binaries, "pg_dump", *options, output=_STANDARD_OUTPUT if file is None else DEVNULL)


def binaries_for(data_dir: Path) -> PostgresBinaries:
    """Return the programs of the major version that wrote the data in a folder.

    Raises:
        NoDatabaseError: the folder holds no data.
        BinariesNotFoundError: there are no programs of that version here.
        UnusableDataDirError: the version cannot be read.

    """
    return find_binaries_of(DataDir(data_dir).data_major())


@asynccontextmanager
async def open_existing(data_dir: Path, *, timings: ServerTimings = USUAL_TIMINGS) -> AsyncIterator[ExistingDatabase]:
    """Open the database in a folder: over the socket of its running service, or else by starting it for a while.

    Raises:
        NoDatabaseError: the folder holds none. Nothing was made.
        BinariesNotFoundError: there are no programs of the version that wrote it.
        DataDirInUseError: another process has locked the folder, and no database answers there.
        EmbeddedPostgresError: the database cannot be started.

    """
    binaries = binaries_for(data_dir)
    postgres = EmbeddedPostgres(data_dir, binaries=binaries.folder, timings=timings)
    try:
        url = await postgres.start()
    except DataDirInUseError as error:
        url = await _url_of_running(DataDir(data_dir), error, timings)
    try:
        yield ExistingDatabase(url, binaries)
    finally:
        await postgres.stop()  # does nothing to the database of a running service


async def _url_of_running(data_dir: DataDir, in_use: DataDirInUseError, timings: ServerTimings) -> str:
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + timings.join_seconds  # a service that starts has the lock before its database answers
    while True:
        url = socket_url(data_dir.socket.resolve(), DATABASE)  # a link may be replaced by each start
        try:
            connection = await asyncpg.connect(url, timeout=timings.connect_seconds)
        except (OSError, asyncpg.PostgresError):
            if clock() > give_up_at:
                raise in_use from None
            await asyncio.sleep(_POLL_SECONDS)
        else:
            await connection.close(timeout=timings.connect_seconds)
            return url
