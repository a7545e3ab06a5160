"""Makes the folder of the server's socket: only its owner can enter it, and its path is short enough.

The path of a socket may have 107 bytes on Linux, 103 on macOS. If the path of the data folder is too long, the socket
gets a folder with a random name among the temporary files, made by this user, and a link in the data folder points to
it. So nobody can put another folder in its place, and two services never share one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from task_store.embedded._cluster import SUPERUSER
from task_store.embedded._owner import check_owner

PORT = 5432
"""Part of the socket's name. No TCP port is opened."""

_PATH_BYTES = 103 - len(f"/.s.PGSQL.{PORT}.lock")
_SHORT = Path("/tmp")  # noqa: S108 # mkdtemp makes a private folder in it


def socket_url(folder: Path, database: str) -> str:
    """Return the URL of a database on the server whose socket is in `folder`."""
    return f"postgresql://{SUPERUSER}@/{database}?host={folder}&port={PORT}"


def make_socket_folder(wanted: Path) -> Path:
    """Make the folder `wanted` with mode 0700, or a short one that `wanted` links to, if missing; return it.

    Raises:
        OSError: it cannot be made, or the folder or the link that is there belongs to another user.

    """
    if _is_fit(wanted) and not wanted.is_symlink():
        wanted.mkdir(mode=0o700, exist_ok=True)
        check_owner(wanted, wanted.lstat())
        return wanted
    if wanted.is_symlink():
        check_owner(wanted, wanted.lstat())
        target = wanted.readlink()
        with suppress(OSError):  # usually it exists
            target.mkdir(mode=0o700)
        if is_private(target):
            return target
    temporary = Path(tempfile.gettempdir())
    target = Path(tempfile.mkdtemp(prefix="task-", dir=temporary if _is_fit(temporary / "task-12345678") else _SHORT))
    wanted.unlink(missing_ok=True)
    wanted.symlink_to(target)
    return target


def clear_socket_folder(folder: Path) -> None:
    """Remove the files of a killed server. PostgreSQL refuses to start if another process now has its process id."""
    for leftover in folder.glob(f".s.PGSQL.{PORT}*"):
        leftover.unlink()


def remove_socket_folder(wanted: Path) -> None:
    """Remove what `make_socket_folder` made, once its server has stopped."""
    folder = wanted.resolve()
    with suppress(OSError):
        clear_socket_folder(folder)
        folder.rmdir()
        wanted.unlink()


def is_private(folder: Path) -> bool:
    """Return whether this is a real directory of this user that no other user can access."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077


def _is_fit(folder: Path) -> bool:
    """Return whether a path is short enough, and has only plain characters: in a URL a comma separates two hosts."""
    return len(os.fsencode(folder)) <= _PATH_BYTES and quote(str(folder)) == str(folder)
