"""Opens the connections to a database, and tells a database that is away from one that can never be used as it is.

Every connection of the store and of the migrations is opened here: by one URL they all reach it, or are all refused.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from task_store._address import ESCAPES, DatabaseAddress
from task_store.errors import DatabaseUnavailableError, UnusableDatabaseError

DIALECT = "postgresql+asyncpg://"
"""The URL for SQLAlchemy, which opens its connections by a `connector`."""

Connector: TypeAlias = "Callable[[], Awaitable[asyncpg.Connection[Any]]]"

_CONNECT_SECONDS = 5.0
_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""The name is known not to exist. A name service that does not answer (EAI_AGAIN) may do so later."""
_AUTHENTICATION_FAILED = "28P01"
_UNUSABLE = ("22", "28", "3D", "42", "55P02")
"""What the server answers to a URL that it can never accept: the beginnings of SQLSTATEs. Role, database, rights, and
settings in `options`."""


def open_engine(url: str) -> AsyncEngine:
    """Return an engine that opens a connection for each use and keeps none, for migrations. The caller disposes of it.

    Its connections raise UnusableDatabaseError, or foreign errors for `classify`.

    Raises:
        UnusableDatabaseError: the URL cannot be used. Nothing is connected yet.

    """
    connect = connector(DatabaseAddress.parse(url), connect_seconds=_CONNECT_SECONDS)
    return create_async_engine(DIALECT, async_creator=connect, poolclass=NullPool, hide_parameters=True)


def connector(
    address: DatabaseAddress,
    *,
    connect_seconds: float,
    command_seconds: float | None = None,
    server_settings: Mapping[str, str] | None = None,
) -> Connector:
    """Return a function that opens a connection, for SQLAlchemy's `async_creator`.

    Where the URL has a `connect_timeout` or server settings of its own, the shorter time and the URL's settings count.
    """
    parameters = address.parameters

    async def connect() -> asyncpg.Connection[Any]:
        try:
            connection = await asyncpg.connect(
                address.dsn,
                timeout=min(connect_seconds, parameters.connect_seconds or connect_seconds),
                command_timeout=command_seconds,
                max_cached_statement_lifetime=0,  # prepared once in the life of a connection, however long it is
                max_cacheable_statement_size=0,
                ssl=parameters.tls,
                server_settings={**(server_settings or {}), **parameters.server_settings},
            )
        except asyncpg.TargetServerAttributeNotMatched as error:
            raise DatabaseUnavailableError("no host is what target_session_attrs asks for") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, OSError) as error:
            if (reason := _why_unusable(error)) is None:
                raise
            raise _unusable(address, type(error).__name__, reason, getattr(error, "sqlstate", None)) from error
        _refuse_other_encodings(address, connection)
        _set_socket_options(connection, parameters.socket_options)
        return connection

    return connect


def socket_of(connection: Any) -> socket.socket:
    """Return the socket of asyncpg's own connection, open or closed; asyncpg (0.32) shows it in no public way.

    Its stubs lack the transport, so `connection` has no type.
    """
    opened: socket.socket = connection._transport.get_extra_info("socket")  # noqa: SLF001
    return opened


def _why_unusable(error: Exception) -> str | None:
    """Return why connecting can never succeed, and what to do; None where it may succeed later."""
    words = str(error.args[0]) if error.args else type(error).__name__
    match error:
        case socket.gaierror():
            unknown = f"there is no host of this name: it is misspelt, or the password is not escaped ({ESCAPES})"
            return unknown if error.errno in _NO_SUCH_HOST else None
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not accepted ({error.verify_message}): see sslmode and sslrootcert"
        case asyncpg.PostgresError():
            return _why_refused(error.sqlstate or "", words)
        case ConnectionError() if "rejected SSL upgrade" in words:
            return "the server has no TLS: turn its `ssl` on, or leave out sslmode"
        case OSError():
            return None
    return words  # the driver does not know a value, or how the server wants the password


def _why_refused(sqlstate: str, words: str) -> str | None:
    if not sqlstate.startswith(_UNUSABLE):
        return None
    if sqlstate == _AUTHENTICATION_FAILED:
        return f"{words}: the password is wrong or not escaped ({ESCAPES}), or there is no such role"
    return words


def _refuse_other_encodings(address: DatabaseAddress, connection: asyncpg.Connection[Any]) -> None:
    """Refuse a database that cannot store every text: an outcome would be lost to the first character that it lacks."""
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        connection.terminate()
        reason = f"its encoding is {encoding}: create one with ENCODING 'UTF8' TEMPLATE template0"
        raise _unusable(address, encoding, reason)


def _set_socket_options(connection: asyncpg.Connection[Any], options: tuple[tuple[int, int, int], ...]) -> None:
    opened = socket_of(connection)
    if opened.family != getattr(socket, "AF_UNIX", None):
        for option in options:
            opened.setsockopt(*option)


def _unusable(address: DatabaseAddress, kind: str, reason: str, sqlstate: str | None = None) -> UnusableDatabaseError:
    advice = " ".join(f"{address}: {reason}".split())  # the server's own words may have several lines
    return UnusableDatabaseError(f"the database cannot be used ({kind})", advice=advice, sqlstate=sqlstate)
