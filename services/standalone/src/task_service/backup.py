"""`task-service backup`: writes a dump of the embedded database, whether the service runs or not."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from task_runtime import Misconfigured
from task_service.contents import Contents
from task_store.embedded import open_existing, rename_synced

STANDARD_OUTPUT = Path("-")


async def backup(data_dir: Path, file: Path, *, overwrites: bool) -> str:
    """Write a dump of the database in `data_dir` to `file`, and return a sentence that says what the dump holds.

    The file gets its name once all of it is on disk, and only this user may read it. Safe to repeat.

    Args:
        data_dir: the data folder of a service, which may be running.
        file: the file to write, or `STANDARD_OUTPUT`.
        overwrites: whether a file of that name is replaced.

    Raises:
        Misconfigured: there is nothing to back up, or the file cannot be written.
        EmbeddedPostgresError, StoreError, OSError: it failed. There is no file, or one whose name is lost if the power
            is cut now.

    """
    with _output(file, overwrites=overwrites) as output:
        async with open_existing(data_dir) as existing:
            contents = await Contents.read(existing.url)  # as of a moment before the dump, where the service runs
            if contents.revision is None:
                raise Misconfigured(f"there is nothing to back up in {data_dir}: no service has made its tables yet")
            await existing.dump(output)
    return f"backed up {data_dir}: {contents}{_written(file)}"


@contextmanager
def _output(file: Path, *, overwrites: bool) -> Iterator[Path | None]:
    if file == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise Misconfigured("a dump is nothing to read: name a file, or send it on to a program")
        yield None
        return
    if file.exists() and not file.is_file():
        raise Misconfigured(f"{file} is no file")
    _check_free(file, overwrites=overwrites)
    with _whole_file(file.resolve()) as unfinished:  # of a link, the file that it points to is written
        yield unfinished
        _check_free(file, overwrites=overwrites)


def _check_free(file: Path, *, overwrites: bool) -> None:
    if file.exists() and not overwrites:
        raise Misconfigured(f"{file} exists: name another file, or say --force")


@contextmanager
def _whole_file(file: Path) -> Iterator[Path]:
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.unfinished-", dir=file.parent)
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written: {error.strerror}") from error
    os.close(descriptor)
    unfinished = Path(name)
    try:
        yield unfinished
        rename_synced(unfinished, file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _written(file: Path) -> str:
    return "" if file == STANDARD_OUTPUT else f"; {file.stat().st_size:,} bytes in {file}"
