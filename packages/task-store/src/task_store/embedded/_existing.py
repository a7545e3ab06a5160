"""The database that a data folder already holds, reached for a moment, whether its service runs or not.

**Invariants**
- It is run by binaries of the major version that wrote it, whatever a service would prefer now.
- A service that runs is not disturbed: its database is reached through its socket, and left as it is.
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
    """A database that answers at `url`, and the programs that fit it."""

    url: str
    binaries: PostgresBinaries

    async def dump(self, file: Path | None) -> None:
        """Write a dump of it, in pg_dump's custom format, to a file, or else to this process's standard output.

        All of it is as of one moment, and on disk in the end. Takes as long as there is data. A call that fails or is
        cancelled leaves half of it.

        Raises:
            ProgramFailedError: pg_dump failed; says why.

        """
        options = ["--format=custom", f"--lock-wait-timeout={_LOCK_TIMEOUT}", f"--dbname={self.url}", "--no-password"]
        if file is not None:
            # Not by its standard output: a file it brings to disk itself, and every byte of that counts, while to the
            # other it appends a second table of contents (18.6), of which some can be missing unnoticed.
            options.append(f"--file={file.absolute()}")  # noqa: ASYNC240 # which asks no disk
        await run_program(self.binaries, "pg_dump", *options, output=_STANDARD_OUTPUT if file is None else DEVNULL)


def binaries_for(data_dir: Path) -> PostgresBinaries:
    """Return the binaries of the major version that wrote the data in a folder.

    Raises:
        NoDatabaseError: it holds none.
        BinariesNotFoundError: there are none of that version here.
        UnusableDataDirError: it cannot be read.

    """
    return find_binaries_of(DataDir(data_dir).data_major())


@asynccontextmanager
async def open_existing(data_dir: Path, *, timings: ServerTimings = USUAL_TIMINGS) -> AsyncIterator[ExistingDatabase]:
    """Give the database in a folder: the one that its service runs, else one that is started and stopped again.

    Raises:
        NoDatabaseError: the folder holds none; nothing was made.
        BinariesNotFoundError: the major version that wrote it is not on this machine.
        DataDirInUseError: somebody has the folder, and runs no database on it.
        EmbeddedPostgresError: it cannot be started.

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
        await postgres.stop()  # which does nothing to the database of another one


async def _url_of_running(data_dir: DataDir, in_use: DataDirInUseError, timings: ServerTimings) -> str:
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + timings.join_seconds  # a service that starts has the lock before its database answers
    while True:
        url = socket_url(data_dir.socket.resolve(), DATABASE)  # a link that each start makes anew
        try:
            connection = await asyncpg.connect(url, timeout=timings.connect_seconds)
        except (OSError, asyncpg.PostgresError):
            if clock() > give_up_at:
                raise in_use from None
            await asyncio.sleep(_POLL_SECONDS)
        else:
            await connection.close(timeout=timings.connect_seconds)
            return url
