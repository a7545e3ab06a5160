from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from task_store import (
    FOREIGN_ERRORS,
    ContentionError,
    DatabaseUnavailableError,
    NotExecutedError,
    SchemaMismatchError,
    StatementEndedError,
    StoreError,
    UnstorableValuesError,
    classify,
)


def wrapped(driver_error: Exception | None, *, invalidated: bool = False) -> DBAPIError:
    """Return the error that SQLAlchemy raises for one of asyncpg."""
    orig = AsyncAdapt_asyncpg_dbapi.Error("secret text", driver_error)
    return DBAPIError("SELECT secret", {"secret": "secret"}, orig, connection_invalidated=invalidated)


def of_state(sqlstate: str) -> DBAPIError:
    error = asyncpg.PostgresError("secret text")
    error.sqlstate = sqlstate
    return wrapped(error)


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        (ContentionError, ["40001", "40P01", "55P03"]),
        (
            DatabaseUnavailableError,
            [
                *("08000", "08003", "08006", "08P01"),  # connection
                *("53000", "53100", "53300"),  # disk, connections
                *("57P01", "57P02", "57P03"),  # shutdown, crash, starting
                *("58000", "58030"),  # input and output
                *("28000", "28P01", "3D000"),  # role, password, database
            ],
        ),
        (StatementEndedError, ["57014", "53200"]),  # timeout, memory
        (
            UnstorableValuesError,
            ["22000", "22003", "22021", "22P02", "22P05", "23502", "23505", "23514", "54000", "54001"],
        ),
        (SchemaMismatchError, ["42P01", "42703", "3F000"]),
        (NotExecutedError, ["25006"]),
        (StoreError, ["42601", "42883", "21000", "0A000", "XX000"]),
    ],
)
def test_code_of_the_server_decides(kind: type[StoreError], states: list[str]) -> None:
    errors = {state: classify(of_state(state)) for state in states}

    assert {state: type(error) for state, error in errors.items()} == dict.fromkeys(states, kind)
    assert [error.sqlstate for error in errors.values()] == states
    told = [state for state, error in errors.items() if "secret" in str(error)]
    assert told == [state for state in states if state[:2] in ("53", "57") and kind is DatabaseUnavailableError]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sorry, too many clients already", "sorry, too many clients already"),
        ('too many connections for role "task_api"', 'too many connections for role "task_api"'),
        ("two\nlines\x1b[2J", "two lines\\u001b[2J"),
        ("x" * 500, "x" * 199 + "…"),
        ("", ""),
    ],
)
def test_what_the_server_lacks_is_said_in_its_own_words(words: str, said: str) -> None:
    refused = asyncpg.TooManyConnectionsError(words)
    refused.detail = refused.hint = "secret"

    assert str(classify(refused)) == f"the database is not available (TooManyConnectionsError: {said})"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("secret"),
        ConnectionResetError("secret"),
        OSError("secret"),
        TimeoutError("secret"),
        PoolTimeoutError("secret"),
        InterfaceError("secret", {}, Exception("secret")),
        wrapped(None, invalidated=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_from_outside_the_server_means_unavailable(error: Exception) -> None:
    ours = classify(error)

    assert type(ours) is DatabaseUnavailableError
    assert isinstance(error, FOREIGN_ERRORS)
    assert "secret" not in str(ours)


def lost(sqlstate: str) -> Exception:
    """Return what asyncpg raises when the server's last words were an error of this code."""
    error = asyncpg.ConnectionDoesNotExistError("secret")
    error.__cause__ = asyncpg.PostgresError("secret")
    error.__cause__.sqlstate = sqlstate
    return error


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (NotExecutedError, wrapped(asyncpg.InterfaceError("secret"), invalidated=True)),
        (NotExecutedError, wrapped(asyncpg.InternalClientError("secret"), invalidated=True)),
        (NotExecutedError, wrapped(lost("57P05"), invalidated=True)),
        (DatabaseUnavailableError, wrapped(lost("57P01"), invalidated=True)),
        (StoreError, wrapped(asyncpg.InterfaceError("secret"))),
    ],
)
def test_only_what_surely_did_not_happen_is_not_executed(kind: type[StoreError], error: Exception) -> None:
    """The server may have committed before it was told to shut down; misuse of the driver closes no connection."""
    ours = classify(error)

    assert type(ours) is kind
    assert "secret" not in str(ours)


@pytest.mark.parametrize("error", [wrapped(None), wrapped(RuntimeError("secret")), ArgumentError("secret")])
def test_error_that_nobody_foresaw_is_still_ours(error: Exception) -> None:
    ours = classify(error)

    assert type(ours) is StoreError
    assert ours.sqlstate is None
    assert "secret" not in str(ours)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (NotExecutedError, asyncpg.InterfaceError("secret")),
        (NotExecutedError, asyncpg.InternalClientError("secret")),
        (DatabaseUnavailableError, asyncpg.AdminShutdownError("ended")),
        (DatabaseUnavailableError, asyncpg.ConnectionDoesNotExistError("secret")),
    ],
)
def test_error_of_the_driver_while_a_connection_is_opened_is_ours_too(kind: type[StoreError], error: Exception) -> None:
    """SQLAlchemy 2.1 does not wrap what asyncpg raises while the codecs of a new connection are set."""
    ours = classify(error)

    assert type(ours) is kind
    assert isinstance(error, FOREIGN_ERRORS)
    assert "secret" not in str(ours)


def test_statement_that_a_migration_made_invalid_is_to_be_repeated() -> None:
    orig = AsyncAdapt_asyncpg_dbapi.InvalidCachedStatementError("cached statement plan is invalid")

    assert type(classify(DBAPIError("SELECT 1", {}, orig))) is ContentionError


def test_violated_constraint_is_named() -> None:
    violation = asyncpg.CheckViolationError("secret")
    violation.constraint_name = "ck_tasks_status"

    error = classify(wrapped(violation))

    assert isinstance(error, UnstorableValuesError)
    assert (error.constraint, error.sqlstate) == ("ck_tasks_status", "23514")
