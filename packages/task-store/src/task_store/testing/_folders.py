"""Makes, locks and removes the folders of throw-away servers, also those whose owner was killed.

**Invariants**
- A folder is locked as long as its owner lives. One that is not locked may be removed by anybody.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from task_store.embedded._data_dir import DataDir
from task_store.embedded._socket_folder import is_private
from task_store.embedded.errors import DataDirError

_PREFIX = "task-postgres-"
_MEMORY = Path("/dev/shm")  # noqa: S108 # mkdtemp makes a private folder in it
_MEMORY_BYTES = 2 << 30


def new_folder(*, in_memory: bool = True) -> DataDir:
    """Make and lock a folder, and remove what killed owners left beside it.

    In memory if there is enough and it is asked for: there a database is made in 10 ms, on a disk in 25 to 250.
    """
    has_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES
    root = _MEMORY if in_memory and has_memory else Path(tempfile.gettempdir())
    _remove_rubbish(root)
    while True:
        data_dir = DataDir(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root)))
        with suppress(DataDirError):
            data_dir.acquire()
            if data_dir.path.is_dir():  # before it was locked, another process may have removed it
                return data_dir


def remove_folder(data_dir: DataDir) -> None:
    """Remove a folder that this process has locked."""
    shutil.rmtree(data_dir.path, ignore_errors=True)
    data_dir.release()


def _remove_rubbish(root: Path) -> None:
    for folder in filter(is_private, root.glob(_PREFIX + "*")):  # another user may have put a link there
        data_dir = DataDir(folder)
        with suppress(DataDirError):  # in use
            data_dir.acquire()
            remove_folder(data_dir)
