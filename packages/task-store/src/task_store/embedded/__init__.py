"""Runs a PostgreSQL server of this process alone, on a machine that has none; its data is kept in a folder.

Needs the extra `embedded`. It runs PostgreSQL's own programs, and knows nothing of tasks. Why it is our own code:
docs/decisions/0010.
"""

from task_store.embedded._binaries import PostgresBinaries, all_binaries, find_binaries, find_binaries_of
from task_store.embedded._disk import rename_synced
from task_store.embedded._existing import ExistingDatabase, binaries_for, open_existing
from task_store.embedded._restore import Dump, Restored, read_dump, restoring
from task_store.embedded._supervisor import EmbeddedPostgres
from task_store.embedded._timings import ServerTimings
from task_store.embedded.errors import (
    BinariesNotFoundError,
    DatabaseExistsError,
    DataDirError,
    DataDirInUseError,
    EmbeddedPostgresError,
    NoDatabaseError,
    NoServerAccountError,
    ProgramFailedError,
    ServerDidNotStartError,
    UnusableDataDirError,
    UnusableDumpError,
    WrongMajorVersionError,
)

__all__ = [
    "BinariesNotFoundError",
    "DataDirError",
    "DataDirInUseError",
    "DatabaseExistsError",
    "Dump",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "ExistingDatabase",
    "NoDatabaseError",
    "NoServerAccountError",
    "PostgresBinaries",
    "ProgramFailedError",
    "Restored",
    "ServerDidNotStartError",
    "ServerTimings",
    "UnusableDataDirError",
    "UnusableDumpError",
    "WrongMajorVersionError",
    "all_binaries",
    "binaries_for",
    "find_binaries",
    "find_binaries_of",
    "open_existing",
    "read_dump",
    "rename_synced",
    "restoring",
]
