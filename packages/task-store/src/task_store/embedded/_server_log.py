"""Opens the server's log, and keeps it small, also while the server writes to it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from task_store.embedded._owner import check_owner

LOG_BYTES = 5 << 20


def open_log(log: Path) -> BinaryIO:
    """Open the log to read it and to append to it. It is made if it is missing; only this user may read it then.

    Raises:
        OSError: it cannot be opened, is a link, or belongs to another user.

    """
    try:
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(f"{log} is a link, to which no log is written") from error
        raise
    file = os.fdopen(descriptor, "a+b")
    try:
        check_owner(log, os.fstat(descriptor))
    except PermissionError:
        file.close()
        raise
    return file


def rotate_log(log: Path) -> None:
    """If the log is longer than 5 MiB, keep its last 5 MiB as `<log>.old`, in place of an older one, and empty it.

    The server only appends, so it goes on at the new end; what it writes just between is lost. On a full disk nothing
    old is kept, but the log is emptied all the same: it may be what fills the disk.

    Raises:
        OSError: the log cannot be read or emptied, is a link, or belongs to another user.

    """
    with open_log(log) as file:
        size = file.seek(0, os.SEEK_END)
        if size <= LOG_BYTES:
            return
        old = log.with_name(f"{log.name}.old")
        old.unlink(missing_ok=True)
        file.seek(size - LOG_BYTES)
        newest = file.read(LOG_BYTES)
        with suppress(OSError), old.open("xb") as kept:  # a new file: no link is followed
            kept.write(newest)
        file.truncate(0)
