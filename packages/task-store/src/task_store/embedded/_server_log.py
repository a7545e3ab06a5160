"""Keeps the server's log small, also while the server writes to it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LOG_BYTES = 5 << 20


def rotate_log(log: Path) -> None:
    """If the log is longer than 5 MiB, keep its last 5 MiB as `<log>.old`, in place of an older one, and empty it.

    The server only appends, so it goes on at the new end; what it writes just between is lost. On a full disk nothing
    old is kept, but the log is emptied all the same: it may be what fills the disk.

    Raises:
        OSError: the log cannot be read or emptied.

    """
    if not log.exists() or log.stat().st_size <= LOG_BYTES:
        return
    old = log.with_name(f"{log.name}.old")
    old.unlink(missing_ok=True)
    with log.open("r+b") as file:
        file.seek(log.stat().st_size - LOG_BYTES)
        newest = file.read(LOG_BYTES)
        with suppress(OSError):
            old.write_bytes(newest)
        file.truncate(0)
