"""`task-service restore`: makes a dump the embedded database of a data folder. It restores all of it, or nothing."""

from __future__ import annotations

from pathlib import Path

from task_runtime import Misconfigured
from task_service.contents import Contents
from task_store import StoreError
from task_store.embedded import (
    DataDirInUseError,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    NoDatabaseError,
    binaries_for,
    read_dump,
    restoring,
)

_TABLES = {"alembic_version", "tasks"}
_REPLACE = "name another folder, or say --replace, which keeps the old files beside the new ones"


async def restore(data_dir: Path, file: Path, *, replaces: bool) -> str:
    """Make the dump in `file` the database in `data_dir`, and return lines that say what it holds. It is left stopped.

    The next start of the service brings the schema up to date, and uses the database.

    Args:
        data_dir: the data folder, made if it is missing. Its service must not run.
        file: a file that `backup` or `pg_dump --format=custom` has written.
        replaces: whether a database with tasks is put aside. One without tasks is put aside in any case.

    Raises:
        Misconfigured: the folder holds tasks already, or the file is a dump of another database.
        EmbeddedPostgresError, StoreError: it failed; the folder is unchanged.

    """
    dump = await read_dump(file)
    if not dump.tables >= _TABLES:
        raise Misconfigured(f"the file {file} is a dump of something else than a task service's database")
    if not replaces:
        replaces = await _is_there_without_tasks(data_dir)
    async with restoring(data_dir, dump, replace=replaces) as restored:
        contents = await Contents.read(restored.url)
        if contents.revision is None:
            raise Misconfigured(f"the file {file} is a dump without a revision of its schema")
    return "\n".join(_lines(data_dir, contents, restored.replaced))


async def _is_there_without_tasks(data_dir: Path) -> bool:
    """Return True if the folder holds a database without tasks, False if it holds none.

    Raises:
        Misconfigured: it holds tasks, or cannot be read.
        DataDirInUseError: a service runs on it.

    """
    try:
        async with EmbeddedPostgres(data_dir, binaries=binaries_for(data_dir).folder) as postgres:
            contents = await Contents.read(postgres.url)
    except NoDatabaseError:
        return False
    except DataDirInUseError:
        raise
    except (EmbeddedPostgresError, StoreError) as error:
        raise Misconfigured(f"what {data_dir} holds cannot be looked at ({error}): {_REPLACE}") from error
    if contents.tasks:
        raise Misconfigured(f"the data folder {data_dir} holds {contents}: {_REPLACE}")
    return True


def _lines(data_dir: Path, contents: Contents, replaced: Path | None) -> list[str]:
    lines = [f"restored {data_dir}: {contents}"]
    if contents.running:
        lines.append(f"{contents.running:,} of them were running: the sweep brings them back, a lease after the start")
    if replaced:
        lines.append(f"what was there before is kept in {replaced}")
    return lines + [f"warning: {text}" for text in contents.facts.startup_warnings(contents.revision or "", 0)]
