"""Refuses files and folders that belong to another user, who could read or change what is written there."""

from __future__ import annotations

import os
from pathlib import Path


def check_owner(path: Path, facts: os.stat_result) -> None:
    """Check that what `path` names belongs to this user, by what `lstat` or `fstat` says of it.

    Raises:
        PermissionError: it belongs to another one.

    """
    if facts.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to user {facts.st_uid}, and this is user {os.geteuid()}")
