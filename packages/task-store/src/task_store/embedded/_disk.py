"""Names of files that survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk: until then a power cut may undo a rename.

    Raises:
        OSError: the disk does not confirm it.

    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_synced(file: Path, to: Path) -> None:
    """Rename a file or a folder, and write the new name to disk. `to` is replaced if it is a file."""
    file.rename(to)
    sync_folder(to.parent)
