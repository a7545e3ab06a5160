"""How the PostgreSQL server is set up, and what an operator should be warned of."""

from __future__ import annotations

from dataclasses import dataclass

from task_store.schema import SCHEMA_REVISION

OLDEST_MAJOR, NEWEST_MAJOR = 15, 18
"""The oldest and the newest version of PostgreSQL that the tests run on."""

_NEAR = 0.8
_NOT_DURABLE = "fsync or synchronous_commit is off: a power cut can lose tasks that were accepted; turn them on"
_GREEDY = (
    "this process alone may open {} of the database's {} connections: raise max_connections, or have it open fewer"
)
_UNTESTED = "PostgreSQL {} is not among the versions that were tested ({} to {})"
_NEWER_SCHEMA = "the schema ({}) is newer than this version knows ({}): update it"


@dataclass(frozen=True)
class DatabaseFacts:
    """How the server is set up, for the block that each process prints at its start."""

    version: str
    version_num: int
    max_connections: int
    fsync: str
    synchronous_commit: str

    @property
    def major(self) -> int:
        """The major version, such as 18."""
        return self.version_num // 10000

    @property
    def is_durable(self) -> bool:
        """Whether a commit that the server has confirmed survives a power cut."""
        return self.fsync == "on" and self.synchronous_commit != "off"

    def startup_warnings(self, revision: str, connections: int) -> list[str]:
        """Return the startup warnings about the server, each a sentence that says what to do.

        Args:
            revision: the revision of the database's schema.
            connections: how many connections the process opens at most.

        """
        checks = [
            (not self.is_durable, _NOT_DURABLE),
            (connections > _NEAR * self.max_connections, _GREEDY.format(connections, self.max_connections)),
            (
                not OLDEST_MAJOR <= self.major <= NEWEST_MAJOR,
                _UNTESTED.format(self.major, OLDEST_MAJOR, NEWEST_MAJOR),
            ),
            (revision > SCHEMA_REVISION, _NEWER_SCHEMA.format(revision, SCHEMA_REVISION)),
        ]
        return [text for is_so, text in checks if is_so]
