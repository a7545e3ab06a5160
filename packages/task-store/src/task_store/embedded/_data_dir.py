"""The data folder of the embedded PostgreSQL, and the lock by which only one service uses it.

    postgres/        PostgreSQL's own files
    postgres.log     the server's log, and what it wrote before that: postgres.log.old (at most 5 MiB each)
    service.lock     locked by the service that uses the folder; contains its process id
    socket           the folder of the server's socket, or a link to it
    postgres.replaced-<when>   what `postgres` was before a restore; only its owner removes it

**Invariants**
- The folder, its log and its `socket` belong to the user who runs the service: others are refused (`_owner`).
- Only the holder of the lock changes the folder. The kernel drops the lock when its process ends, however that happens,
  and the server does not inherit it: after a kill -9 the next service gets it at once.
- The lock file is never removed: otherwise two services could each lock a file of this name.
- If a restore has moved the old files aside and was killed before the new ones had their name, no new database is made.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path

from task_store.embedded._cluster import UNFINISHED
from task_store.embedded._disk import sync_folder
from task_store.embedded._owner import check_owner
from task_store.embedded.errors import (
    DataDirInUseError,
    NoDatabaseError,
    UnusableDataDirError,
    WrongMajorVersionError,
)

_CLUSTER = "postgres"
_LOG = "postgres.log"
_LOCK = "service.lock"
_SOCKET = "socket"
_REPLACED = f"{_CLUSTER}.replaced-"
_OURS = {_LOG, f"{_LOG}.old", _LOCK, _SOCKET, "lost+found"}
_LEFT = (_CLUSTER + UNFINISHED, _REPLACED)
"""How other names of ours begin."""


class DataDir:
    """The folder at `path`, which the first `acquire` makes."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own files."""
        return self.path / _CLUSTER

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / _LOG

    @property
    def socket(self) -> Path:
        """The folder of the server's socket, or a link to it."""
        return self.path / _SOCKET

    @property
    def has_cluster(self) -> bool:
        """Whether PostgreSQL's files are there; they may be unreadable."""
        return (self.cluster / "PG_VERSION").exists()

    def acquire(self) -> None:
        """Make the folder if it is missing, and lock it until `release`.

        Raises:
            DataDirInUseError: another service has locked it.
            UnusableDataDirError: it cannot be made or written, or belongs to another user.

        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = self.path.resolve()
            check_owner(self.path, self.path.lstat())
            self._lock = _locked(self.path / _LOCK)
        except BlockingIOError:
            raise DataDirInUseError(self.path, _pid_in(self.path / _LOCK)) from None
        except OSError as error:
            raise UnusableDataDirError(self.path, f"cannot be used: {error.strerror or error}") from error

    def release(self) -> None:
        """Unlock the folder. Does nothing if this service has not locked it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def major(self) -> int | None:
        """Return the major version that wrote the data, or None if there is none and a new cluster may be made.

        Raises:
            UnusableDataDirError: the folder holds something that is not ours, or its data was moved aside.

        """
        try:
            return self.data_major()
        except NoDatabaseError:
            self._check_whole()
            self.check_free()
            return None

    def data_major(self) -> int:
        """Return the major version that wrote the data. The lock is not needed.

        Raises:
            NoDatabaseError: the folder holds no data, or does not exist.
            UnusableDataDirError: the version cannot be read.

        """
        try:
            return int((self.cluster / "PG_VERSION").read_text().split(".")[0])
        except (FileNotFoundError, NotADirectoryError):
            raise NoDatabaseError(self.path) from None
        except (OSError, ValueError) as error:
            raise UnusableDataDirError(self.path, f"holds {_CLUSTER}/PG_VERSION, which cannot be read") from error

    def check_major(self, needed: int) -> bool:
        """Return whether there is data yet.

        Raises:
            WrongMajorVersionError: there is, of another major version than `needed`.
            UnusableDataDirError: the folder holds something that is not ours.

        """
        found = self.major()
        if found not in {None, needed}:
            raise WrongMajorVersionError(self.path, found=found, needed=needed)
        return found is not None

    def aside(self) -> Path:
        """Return a new name for a cluster that is to be replaced."""
        return self.path / f"{_REPLACED}{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%fZ}"

    def replace_cluster(self, new: Path, aside: Path | None) -> None:
        """Make `new` the cluster; the one that is there, if any, gets the name `aside`. Both on one file system.

        Raises:
            UnusableDataDirError: it failed and the old cluster is in place. Only if the disk did not confirm the new
                names the new one is, and a power cut may undo that.

        """
        try:
            if aside:
                self.cluster.rename(aside)
            try:
                new.rename(self.cluster)
            except OSError:
                if aside:
                    aside.rename(self.cluster)
                raise
            sync_folder(self.path)
        except OSError as error:
            raise UnusableDataDirError(self.path, f"cannot be used: {error}") from error

    def check_free(self) -> None:
        """Check that the folder holds no files of others, among which a new cluster would be made.

        Raises:
            UnusableDataDirError: it does.

        """
        strangers = [name for name in self._names() if name not in _OURS and not name.startswith(_LEFT)]
        if strangers:
            raise UnusableDataDirError(
                self.path, f"is not empty and not ours (it holds {min(strangers)!r}): name an empty or a new folder"
            )

    def _check_whole(self) -> None:
        replaced = [name for name in self._names() if name.startswith(_REPLACED)]
        if replaced:
            raise UnusableDataDirError(
                self.path,
                f"lacks its database: a restore was interrupted. Repeat the restore, or rename {max(replaced)} to"
                f" {_CLUSTER}",
            )

    def _names(self) -> list[str]:
        return os.listdir(self.path)  # noqa: PTH208 # names are all that is wanted


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _pid_in(path: Path) -> int | None:
    text = path.read_text().strip()
    return int(text) if text.isdecimal() else None
