"""The server that tests run on: one that was named, or one of our own."""

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
    """A server that somebody else runs, named by the URL of any database on it; its role may create databases."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg:", "postgresql:", 1)

    def url(self, database: str = "") -> str:
        """Return the URL of one of its databases; without a name, the one it was named by."""
        return urlsplit(self._url)._replace(path=f"/{database}").geturl() if database else self._url


def given_server() -> GivenPostgres | None:
    """Return the server that TASK_TEST_DATABASE_URL names; None if it is not set."""
    url = os.environ.get(VARIABLE)
    return GivenPostgres(url) if url else None


def private_server(major: int | None = None) -> PrivatePostgres:
    """Return a server of one's own, yet to be started, of a major version or of the preferred one.

    Raises:
        BinariesNotFoundError: none is on this machine.

    """
    return PrivatePostgres() if major is None else PrivatePostgres(find_binaries_of(major))


def server_majors() -> list[int | None]:
    """Return the major versions to try, for `metafunc.parametrize("postgres_server", ..., indirect=True)`.

    All that are on this machine; only None, "whatever there is", where TASK_TEST_DATABASE_URL names a server or none
    is found (the fixture then says so).
    """
    majors = [] if os.environ.get(VARIABLE) else [binaries.major for binaries in all_binaries()]
    return [*majors] or [None]
