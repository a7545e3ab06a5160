"""Makes a dump the database of a data folder: all of it or nothing.

**Invariants**
- The dump is restored into a data folder of its own inside the folder, and checked there. Its files are moved into
  place by a rename once its server has stopped. A restore that fails or is killed leaves files under another name,
  which the next start removes.
- The files that were in place are never removed: they get another name.
- A restore holds the lock of the folder, so no service runs on it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from task_store.embedded._binaries import PostgresBinaries, find_binaries
from task_store.embedded._cluster import UNFINISHED, remove_unfinished
from task_store.embedded._data_dir import DataDir
from task_store.embedded._programs import run_program
from task_store.embedded._server import Server
from task_store.embedded._supervisor import EmbeddedPostgres
from task_store.embedded.errors import DatabaseExistsError, ProgramFailedError, UnusableDataDirError, UnusableDumpError

_LIST_SECONDS = 60.0
_TABLE = re.compile(r"^\d+; \d+ \d+ TABLE DATA \S+ (\S+) ", re.MULTILINE)
"""Matches a line of `pg_restore --list` that names a table whose rows are in the dump."""


@dataclass(frozen=True)
class Dump:
    """A file that pg_dump wrote, the programs that read it, and the names of the tables whose rows are in it."""

    file: Path
    binaries: PostgresBinaries
    tables: frozenset[str]


@dataclass(frozen=True)
class Restored:
    """The restored database, which answers at `url` while it is checked.

    `replaced` is where the old files will be; None if there are none.
    """

    url: str
    replaced: Path | None


async def read_dump(file: Path) -> Dump:
    """Return what a dump holds by its table of contents. Whether its data is complete is seen only by a restore.

    Raises:
        UnusableDumpError: the file is no dump, or one of a newer PostgreSQL than there is here.
        BinariesNotFoundError: there is no PostgreSQL here.

    """
    binaries = find_binaries()
    file = file.absolute()  # noqa: ASYNC240 # does not touch the disk
    try:
        listed = await run_program(binaries, "pg_restore", "--list", str(file), output=PIPE, seconds=_LIST_SECONDS)
    except ProgramFailedError as error:
        raise UnusableDumpError(file, f"pg_restore {binaries.version} says: {' | '.join(error.log_lines)}") from error
    return Dump(file, binaries, frozenset(_TABLE.findall(listed.decode(errors="replace"))))


@asynccontextmanager
async def restoring(data_dir: Path, dump: Dump, *, replace: bool = False) -> AsyncIterator[Restored]:
    """Restore a dump and let the caller check the new database in the block; then it becomes that of the folder.

    If the block raises an error, the folder stays as it was. The new server is stopped in any case.

    Args:
        data_dir: the folder; made if it is missing.
        dump: as `read_dump` returned it. Restore only dumps you trust: their SQL is executed.
        replace: move aside the database that the folder holds.

    Raises:
        DataDirInUseError: a service runs on the folder.
        DatabaseExistsError: the folder holds a database, and `replace` is false.
        UnusableDataDirError: the folder cannot be used, or holds something else.
        ProgramFailedError: the dump is broken, or the disk is full. Its text says why.
        EmbeddedPostgresError: no server can be started.

    """
    data = DataDir(data_dir)
    data.acquire()
    try:
        replaced = _place_for_old(data, replace=replace)
        await remove_unfinished(data.cluster)
        with _folder_beside(data) as folder:
            async with EmbeddedPostgres(folder, binaries=dump.binaries.folder) as postgres:
                await _load(dump, postgres.url)
                yield Restored(postgres.url, replaced)
            await _stop_left_server(data)
            data.replace_cluster(DataDir(folder).cluster, replaced)
    finally:
        data.release()


def _place_for_old(data: DataDir, *, replace: bool) -> Path | None:
    if not data.has_cluster:
        data.check_free()
        return None
    if not replace:
        raise DatabaseExistsError(data.path)
    return data.aside()


@contextmanager
def _folder_beside(data: DataDir) -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix=data.cluster.name + UNFINISHED, dir=data.path))
    except OSError as error:
        raise UnusableDataDirError(data.path, f"cannot be used: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _load(dump: Dump, url: str) -> None:
    arguments = ("--exit-on-error", "--no-owner", "--no-privileges", f"--dbname={url}", "--no-password")
    await run_program(dump.binaries, "pg_restore", *arguments, str(dump.file))


async def _stop_left_server(data: DataDir) -> None:
    """Stop the server that a killed service left running on the files that are to be moved aside."""
    if server := Server.find(data.cluster):
        await server.stop()
