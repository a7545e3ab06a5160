"""Translates errors of SQLAlchemy, asyncpg and the operating system into `StoreError`s; no other module does."""

from __future__ import annotations

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from task_contracts import printable_text, storable_text
from task_store.errors import (
    ContentionError,
    DatabaseUnavailableError,
    NotExecutedError,
    SchemaMismatchError,
    StatementEndedError,
    StoreError,
    UnstorableValuesError,
)

_NOT_SENT = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises where it does not get to send a statement (0.32)."""
_CONNECTING = AsyncAdapt_asyncpg_dbapi.Error
"""What SQLAlchemy makes of asyncpg's errors while its pool opens a connection (2.1)."""
FOREIGN_ERRORS = (SQLAlchemyError, _CONNECTING, asyncpg.PostgresError, *_NOT_SENT, OSError, TimeoutError)
"""What a statement can raise. asyncpg raises refused connections and timeouts as they are (0.32), and SQLAlchemy passes
on what asyncpg raises while a new connection is set up (2.1)."""

_CONTENTION = frozenset({"40001", "40P01", "55P03"})
_UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58"})
_TOLD_CLASSES = frozenset({"53", "57"})
"""What the server lacks, and what an operator has done. Its words say which limit it is (of the server, a role or a
database); they hold no values of rows."""
_WORDS_CHARS = 200
_REFUSED_CLASSES = frozenset({"22", "23", "54"})
_STATEMENT_ENDED = frozenset({"57014", "53200"})
"""`statement_timeout` (or an operator) has cancelled the statement; it needs more memory than there is."""
_IDLE_SESSION_TIMEOUT = "57P05"
"""The server ended the session while it was idle: whatever was sent after that was never executed."""
_READ_ONLY = "25006"
_MISMATCH = frozenset({"42P01", "42703", "3F000"})
_WRONG_ACCESS_CLASSES = frozenset({"28", "3D"})

_ENDED = "the database connection had ended"
_CHANGED_BY_MIGRATION = "a migration has changed what the statement returns; it is prepared anew"
READ_ONLY = "the database is read-only: a standby, or one whose disk is full"


def classify(error: BaseException) -> StoreError:
    """Return the `StoreError` for a foreign error; the caller raises it `from` the original."""
    if isinstance(error, PoolTimeoutError):
        return DatabaseUnavailableError("no database connection came free in time")
    if isinstance(error, OSError | TimeoutError):
        return DatabaseUnavailableError(f"the database does not answer ({type(error).__name__})")
    if isinstance(getattr(error, "orig", None), AsyncAdapt_asyncpg_dbapi.InvalidCachedStatementError):
        return ContentionError(_CHANGED_BY_MIGRATION)
    if _is_not_executed(error, is_lost=not isinstance(error, DBAPIError) or error.connection_invalidated):
        return NotExecutedError(_ENDED)
    sqlstate = sqlstate_of(error)
    if sqlstate is not None:
        return _by_sqlstate(sqlstate, error)
    if isinstance(error, InterfaceError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return DatabaseUnavailableError("the database connection was lost")
    return StoreError(f"unexpected database error ({_driver_name(error)})")


def classify_sent(error: BaseException, *, is_lost: bool) -> StoreError:
    """Return the `StoreError` for what asyncpg raised over a statement. `is_lost`: its connection is closed."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return ContentionError(_CHANGED_BY_MIGRATION)
    if isinstance(error, _NOT_SENT) and not is_lost:
        return StoreError(f"unexpected database error ({_driver_name(error)})")
    return classify(error)


def is_server_in_doubt(error: BaseException) -> bool:
    """Whether a statement's error makes it doubtful that the connections to this server are of further use.

    That is so after no answer, where the server takes no writes, and after an error of it that nobody knows.
    """
    ours = classify(error)
    if isinstance(ours, DatabaseUnavailableError):
        return not isinstance(ours, StatementEndedError)
    return type(ours) is StoreError and ours.sqlstate is not None


def sqlstate_of(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error, or None if it is not from PostgreSQL."""
    state = getattr(_driver_error(error), "sqlstate", None)
    return state if isinstance(state, str) else None


def _is_not_executed(error: BaseException, *, is_lost: bool) -> bool:
    driver_error = _driver_error(error)
    if getattr(driver_error.__cause__, "sqlstate", None) == _IDLE_SESSION_TIMEOUT:
        return True
    return is_lost and isinstance(driver_error, _NOT_SENT)


def _by_sqlstate(sqlstate: str, error: BaseException) -> StoreError:
    name, kind = _driver_name(error), sqlstate[:2]
    if sqlstate in _CONTENTION:
        return ContentionError(f"another transaction was in the way ({name})", sqlstate=sqlstate)
    if sqlstate == _READ_ONLY:
        return NotExecutedError(READ_ONLY, sqlstate=sqlstate)
    if sqlstate in _STATEMENT_ENDED:
        return StatementEndedError(f"the database ended the statement ({name})", sqlstate=sqlstate)
    if kind in _UNAVAILABLE_CLASSES:
        what = f"{name}: {_words(error)}" if kind in _TOLD_CLASSES else name
        return DatabaseUnavailableError(f"the database is not available ({what})", sqlstate=sqlstate)
    if kind in _WRONG_ACCESS_CLASSES:
        return DatabaseUnavailableError(f"the database does not let us in ({name})", sqlstate=sqlstate)
    if kind in _REFUSED_CLASSES:
        constraint = getattr(_driver_error(error), "constraint_name", None)
        return UnstorableValuesError(
            f"the database refuses the values ({name})", sqlstate=sqlstate, constraint=constraint
        )
    if sqlstate in _MISMATCH:
        return SchemaMismatchError(
            f"the schema does not fit this version ({name}); run task-migrate", sqlstate=sqlstate
        )
    return StoreError(f"unexpected database error ({name})", sqlstate=sqlstate)


def _words(error: BaseException) -> str:
    """Return the server's message, without its DETAIL and HINT, as one short line that is safe to print."""
    message = next(iter(_driver_error(error).args), "")
    return printable_text(storable_text(" ".join(str(message).split()), _WORDS_CHARS))


def _driver_name(error: BaseException) -> str:
    return type(_driver_error(error)).__name__


def _driver_error(error: BaseException) -> BaseException:
    try:
        return getattr(error, "driver_exception", None) or error
    except ValueError:  # SQLAlchemy made the error itself, or no longer has the driver's (2.1)
        return error
