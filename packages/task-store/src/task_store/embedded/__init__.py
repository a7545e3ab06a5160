"""A PostgreSQL of one's own, for a machine that has none: nothing to install, its data kept in a folder.

Needs the extra `embedded`. It is our own supervisor over PostgreSQL's own programs, and knows nothing of tasks.
"""

from task_store.embedded._binaries import Binaries, all_binaries, find_binaries
from task_store.embedded._supervisor import EmbeddedPostgres
from task_store.embedded.errors import (
    BinariesNotFoundError,
    DataDirError,
    DataDirInUseError,
    EmbeddedPostgresError,
    NoServerAccountError,
    ProgramFailedError,
    ServerDidNotStartError,
    UnusableDataDirError,
    WrongMajorVersionError,
)

__all__ = [
    "Binaries",
    "BinariesNotFoundError",
    "DataDirError",
    "DataDirInUseError",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "NoServerAccountError",
    "ProgramFailedError",
    "ServerDidNotStartError",
    "UnusableDataDirError",
    "WrongMajorVersionError",
    "all_binaries",
    "find_binaries",
]
