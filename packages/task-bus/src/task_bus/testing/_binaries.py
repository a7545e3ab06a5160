"""Finds an installed RabbitMQ."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FOLDERS = (
    "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "opt/rabbitmq/sbin",
    "opt/homebrew/opt/rabbitmq/sbin",
    "usr/local/opt/rabbitmq/sbin",
)


@dataclass(frozen=True)
class RabbitBinaries:
    """Where RabbitMQ's own scripts are, and the folder with Erlang's `erl` and `epmd`."""

    scripts: Path
    erlang: Path


def find_installed() -> RabbitBinaries | None:
    """Return what is installed on this machine, None if RabbitMQ or Erlang is missing.

    The scripts that packages put on the PATH are not used: they require a certain user, and manage the machine's own
    server.
    """
    erl = shutil.which("erl")
    scripts = next(_scripts(Path("/")), None)
    if erl is None or scripts is None:
        return None
    return RabbitBinaries(scripts, erlang_folder(Path(erl)))


def find_below(root: Path) -> RabbitBinaries | None:
    """Return what is unpacked below `root`, None if it is not complete."""
    scripts = next(_scripts(root), None)
    erlang = root / "usr/lib/erlang/bin"
    return RabbitBinaries(scripts, erlang) if scripts is not None and (erlang / "erl").exists() else None


def erlang_folder(erl: Path) -> Path:
    """Return the folder that has both `erl` and `epmd`: not every system links both into a folder of the PATH."""
    return erl.resolve().parent if (erl.resolve().parent / "epmd").exists() else erl.parent


def _scripts(root: Path) -> Iterator[Path]:
    for pattern in _FOLDERS:
        for folder in sorted(root.glob(pattern), reverse=True):
            if (folder / "rabbitmq-server").exists():
                yield folder
