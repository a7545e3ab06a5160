"""What can keep the embedded PostgreSQL from running.

    EmbeddedPostgresError
    ├── BinariesNotFoundError        no PostgreSQL of the kind that is needed on this machine
    ├── NoServerAccountError         PostgreSQL refuses root, and there is no way to run it as somebody else
    ├── DataDirError
    │   ├── UnusableDataDirError     holds something else, belongs to another user, cannot be written
    │   ├── DataDirInUseError        another service runs on it
    │   ├── WrongMajorVersionError   its data is of another major version than the binaries
    │   ├── NoDatabaseError          there is none in it
    │   └── DatabaseExistsError      there is one in it, where a restore wants to put its own
    ├── UnusableDumpError            a file is no dump, or one that these programs cannot read
    └── ProgramFailedError           a program of PostgreSQL failed; carries the end of what it wrote
        └── ServerDidNotStartError   initdb or the server

Each text is one line that a person can act on. None of them has changed the data, and trying again is safe.
"""

from __future__ import annotations

from pathlib import Path


class EmbeddedPostgresError(Exception):
    """Base of all errors of `task_store.embedded`."""


class BinariesNotFoundError(EmbeddedPostgresError):
    """There is no usable PostgreSQL server where we looked."""


class NoServerAccountError(EmbeddedPostgresError):
    """PostgreSQL cannot run as this user: it refuses root, and wants to own its files."""


class DataDirError(EmbeddedPostgresError):
    """Something about the data folder `path`."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(f"the data folder {path} {text}")
        self.path = path


class UnusableDataDirError(DataDirError):
    """The folder cannot be ours: another folder, or another user, is needed."""


class DataDirInUseError(DataDirError):
    """Another service holds the folder; `pid` is its process, or None where it had not written it yet."""

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
    """There is nothing to back up: no service has run on this folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "holds no database")


class DatabaseExistsError(DataDirError):
    """A restore is not to replace what is there unless it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "holds a database already: name another folder, or have it replaced")


class UnusableDumpError(EmbeddedPostgresError):
    """The file `path` cannot be restored."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"the file {path} cannot be restored: {reason}")
        self.path = path


class ProgramFailedError(EmbeddedPostgresError):
    """A program of PostgreSQL ended, or did not answer in time; `log_lines` is the end of what it wrote."""

    def __init__(self, program: str, log_lines: tuple[str, ...]) -> None:
        super().__init__(f"{program} failed: {' | '.join(log_lines) or 'it did not answer in time'}")
        self.program = program
        self.log_lines = log_lines


class ServerDidNotStartError(ProgramFailedError):
    """There is no server: `initdb` or `postgres` failed."""
