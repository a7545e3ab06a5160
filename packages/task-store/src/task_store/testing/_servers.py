"""Chooses the server that tests run on: one that a variable names, or a private one."""

from __future__ import annotations

import os
from typing import Protocol
from urllib.parse import urlsplit

from task_store.embedded import all_binaries, find_binaries_of
from task_store.testing._private import PrivatePostgres

VARIABLE = "TASK_TEST_DATABASE_URL"


class PostgresServer(Protocol):
    """A server on which tests may create and drop databases."""

    def url(self, database: str = ...) -> str:
        """Return the URL of one of its databases; without a name, one that is always there."""


class GivenPostgres:
    """A server that somebody else runs, given by the URL of a database on it. Its role must be able to create some."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg:", "postgresql:", 1)

    def url(self, database: str = "") -> str:
        """Return the URL of one of its databases; without a name, the URL that was given."""
        return urlsplit(self._url)._replace(path=f"/{database}").geturl() if database else self._url


def given_server() -> GivenPostgres | None:
    """Return the server that TASK_TEST_DATABASE_URL names; None if that is not set."""
    url = os.environ.get(VARIABLE)
    return GivenPostgres(url) if url else None


def private_server(major: int | None = None) -> PrivatePostgres:
    """Return a private server, not started yet, of a major version or of the preferred one.

    Raises:
        BinariesNotFoundError: there are no programs of PostgreSQL for it on this machine.

    """
    return PrivatePostgres() if major is None else PrivatePostgres(find_binaries_of(major))


def server_majors() -> list[int | None]:
    """Return the major versions to try, for `metafunc.parametrize("postgres_server", ..., indirect=True)`.

    All that are on this machine. Only None, for any version, if TASK_TEST_DATABASE_URL names a server, or if no version
    is found (then the fixture fails).
    """
    majors = [] if os.environ.get(VARIABLE) else [binaries.major for binaries in all_binaries()]
    return [*majors] or [None]
