"""Errors of the embedded PostgreSQL.

    EmbeddedPostgresError
    ├── BinariesNotFoundError        there are no programs of the needed version on this machine
    ├── NoServerAccountError         PostgreSQL refuses root, and cannot be run as another user
    ├── DataDirError
    │   ├── UnusableDataDirError     it holds something else, belongs to another user, or cannot be written
    │   ├── DataDirInUseError        another service has locked it
    │   ├── WrongMajorVersionError   its data is of another major version than the programs
    │   ├── NoDatabaseError          it holds no database
    │   └── DatabaseExistsError      it holds a database, and a restore was not told to replace it
    ├── UnusableDumpError            a file is no dump, or one that these programs cannot read
    └── ProgramFailedError           a program of PostgreSQL failed; has the last lines that it wrote
        └── ServerDidNotStartError   that program was initdb or the server

Each text is one line that tells a person what to do. No error has changed the data; trying again is safe.
"""

from __future__ import annotations

from pathlib import Path


class EmbeddedPostgresError(Exception):
    """Base of all errors of `task_store.embedded`."""


class BinariesNotFoundError(EmbeddedPostgresError):
    """There are no usable programs of PostgreSQL where they were looked for."""


class NoServerAccountError(EmbeddedPostgresError):
    """PostgreSQL cannot run as this user: it refuses root, and its files must belong to the user it runs as."""


class DataDirError(EmbeddedPostgresError):
    """Base of the errors about the data folder `path`."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(f"the data folder {path} {text}")
        self.path = path


class UnusableDataDirError(DataDirError):
    """The folder cannot be used: another folder, or another user, is needed."""


class DataDirInUseError(DataDirError):
    """Another service has locked the folder. `pid` is its process, or None if it has not written that yet."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(path, f"is in use by {holder}: stop that one first, or name another folder")
        self.pid = pid


class WrongMajorVersionError(DataDirError):
    """The data was written by major version `found`, and the binaries are of major version `needed`."""

    def __init__(self, path: Path, *, found: int, needed: int) -> None:
        super().__init__(
            path,
            f"holds data of PostgreSQL {found}, and this is PostgreSQL {needed}: "
            + (
                f"back it up by the programs of {found}, and restore that by those of {needed}"
                if found < needed
                else f"use the programs of {found}, none older can read it"
            ),
        )
        self.found = found
        self.needed = needed


class NoDatabaseError(DataDirError):
    """The folder holds no database: no service has run on it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "holds no database")


class DatabaseExistsError(DataDirError):
    """The folder holds a database, and the restore was not told to replace it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "holds a database already: name another folder, or have it replaced")


class UnusableDumpError(EmbeddedPostgresError):
    """The file `path` cannot be restored."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the file {path} cannot be restored: {reason}")
        self.path = path


class ProgramFailedError(EmbeddedPostgresError):
    """A program of PostgreSQL failed or took too long. `log_lines` are the last lines that it wrote."""

    def __init__(self, program: str, log_lines: tuple[str, ...]) -> None:
        super().__init__(f"{program} failed: {' | '.join(log_lines) or 'it did not answer in time'}")
        self.program = program
        self.log_lines = log_lines


class ServerDidNotStartError(ProgramFailedError):
    """`initdb` or `postgres` failed, so there is no server."""
