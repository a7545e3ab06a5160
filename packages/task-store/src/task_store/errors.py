"""Errors of the store.

    StoreError
    ├── DatabaseUnavailableError   no connection, no answer in time, shutting down, out of connections or disk
    │   ├── NotExecutedError       the statement was not executed: its connection had ended, or no writes are taken
    │   ├── StatementEndedError    the server itself ended the statement: too long, or too much memory
    │   └── UnusableDatabaseError  waiting does not help: a wrong URL, host, password or database, or no UTF8
    ├── ContentionError            a deadlock, a serialisation failure or a timeout of a row lock
    ├── UnstorableValuesError      the database refuses the values (SQLSTATE class 22, 23 or 54)
    ├── KeyMismatchError           the key belongs to another request
    ├── KeyExpiredError            some of the tasks of a batch that is repeated were purged
    ├── SchemaMismatchError        a table or column is missing: migrations and code do not fit
    └── UnmigratableSchemaError    no migration leads from the schema that the database holds

`_classify` makes them from foreign errors; the last one is raised by `task_migrations.upgrade`. None carries a
statement, parameters or a row: those hold payloads. PostgreSQL's own words stand only in a DatabaseUnavailableError of
class 53 or 57, and in the `advice` of an UnusableDatabaseError.
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of all errors of this package, and by itself one that nobody foresaw.

    `sqlstate` is PostgreSQL's code where there is one. An unforeseen error with a code: nothing was written.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class DatabaseUnavailableError(StoreError):
    """The database cannot be used now. A write may have taken place; repeat it only if that is safe."""


class NotExecutedError(DatabaseUnavailableError):
    """The statement was not executed: its connection had ended before, or the database is read-only.

    Nothing was written; repeating is safe.
    """


class StatementEndedError(DatabaseUnavailableError):
    """The server itself ended the statement: it took too long, or too much memory. Nothing was written.

    Other statements may well be answered: repeat it with fewer rows.
    """


class UnusableDatabaseError(DatabaseUnavailableError):
    """The database cannot be used until somebody changes its URL or the database itself. Nothing was written.

    A process that starts ends with exit code 2. One that runs goes on as while the database is away: a password may be
    changed under it.

    `advice` is one line for the operator: what is wrong and what to do, with host, port, database and user, never with
    the password. The error's own text, which callers may see, has no address in it.
    """

    def __init__(self, message: str, *, advice: str, sqlstate: str | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.advice = advice


class ContentionError(StoreError):
    """Another transaction was in the way. Nothing was written; repeating is safe."""


class UnstorableValuesError(StoreError):
    """The values can never be stored. Nothing was written. `constraint` is the name of the violated one, if any."""

    def __init__(self, message: str, *, sqlstate: str | None = None, constraint: str | None = None) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.constraint = constraint


class KeyMismatchError(StoreError):
    """The key belongs to another request: one with another body, or of the other call. Nothing was written.

    A repeat with the same key fails again while that request's tasks are there.
    """


class KeyExpiredError(StoreError):
    """The batch that is repeated was created, but some of its tasks were purged since. Nothing was written.

    A repeat with the same key fails again while the rest of its tasks are there.
    """


class SchemaMismatchError(StoreError):
    """The schema is older or newer than this code: run `task-migrate`."""


class UnmigratableSchemaError(StoreError):
    """No migration leads from the schema of the database (`why_no_migration`). Another database is needed."""


class PauseRefusedError(StoreError):
    """The pause was not added; the text says why. Nothing was written. `is_of_time`: its `until` is over already."""

    def __init__(self, message: str, *, is_of_time: bool = False) -> None:
        super().__init__(message)
        self.is_of_time = is_of_time


class PausesNotKnownError(PauseRefusedError):
    """A live worker is of a version that does not know pauses: it would go on."""


class PauseOverError(StoreError):
    """The pause was over already."""
