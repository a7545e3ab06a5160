"""Renames files so that the new name survives a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk. Until then a power cut may undo a rename.

    Raises:
        OSError: the disk has not confirmed it.

    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_synced(file: Path, to: Path) -> None:
    """Rename a file or a folder and write its new name to disk. If `to` is a file, it is replaced."""
    file.rename(to)
    sync_folder(to.parent)
