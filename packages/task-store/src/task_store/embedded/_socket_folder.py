"""The folder of the server's socket: only for its owner, and with a path short enough for a socket.

A socket's whole path has room for 107 bytes on Linux (103 on macOS). Where the data folder's own path does not do, the
socket stands in a folder of a random name that this user made for itself among the temporary files, and a link in the
data folder remembers which: nobody can have put another one in its place, and two services never share one.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from task_store.embedded._cluster import SUPERUSER

PORT = 5432
"""Only part of the socket's name: nothing listens on it."""

_PATH_BYTES = 103 - len(f"/.s.PGSQL.{PORT}.lock")
_SHORT = Path("/tmp")  # noqa: S108 # mkdtemp makes a private folder in it


def socket_url(folder: Path, database: str) -> str:
    """Return the URL of a database of the server whose socket is in `folder`."""
    return f"postgresql://{SUPERUSER}@/{database}?host={folder}&port={PORT}"


def make_socket_folder(wanted: Path) -> Path:
    """Return `wanted` as a folder of mode 0700, or the short folder that it links to; each made where missing."""
    if _is_fit(wanted) and not wanted.is_symlink():
        wanted.mkdir(mode=0o700, exist_ok=True)
        return wanted
    if wanted.is_symlink():
        target = wanted.readlink()
        with suppress(OSError):  # it is there, as a rule
            target.mkdir(mode=0o700)
        if is_private(target):
            return target
    temporary = Path(tempfile.gettempdir())
    target = Path(tempfile.mkdtemp(prefix="task-", dir=temporary if _is_fit(temporary / "task-12345678") else _SHORT))
    wanted.unlink(missing_ok=True)
    wanted.symlink_to(target)
    return target


def clear_socket_folder(folder: Path) -> None:
    """Remove what a server that was killed left: PostgreSQL minds, where its process id has gone to another one."""
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
    """Tell whether this is a folder, no link, of this user and nobody else's business."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not facts.st_mode & 0o077


def _is_fit(folder: Path) -> bool:
    """Tell whether a path is short enough, and plain: a comma would separate two hosts in a URL."""
    return len(os.fsencode(folder)) <= _PATH_BYTES and quote(str(folder)) == str(folder)
