"""Runs statements on PostgreSQL over a pool of connections, each with a deadline, and translates its errors.

Each call is one statement in a transaction of its own (autocommit). So no row stays locked over a round trip.

JSON leaves the driver as text: what cannot be read (`task_store.stored_json`) must concern one row, not its statement.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias, cast
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import create_async_engine

from task_contracts import BackOff, Priority
from task_contracts.lifecycle import Event
from task_store._address import DatabaseAddress
from task_store._classify import FOREIGN_ERRORS, READ_ONLY, classify, classify_sent
from task_store._connecting import DIALECT, connector
from task_store._connections import ConnectionWatch
from task_store._driver_statement import driver_statement
from task_store._row import Row
from task_store._statements import server
from task_store._statements.statement import Statement
from task_store.errors import (
    DatabaseUnavailableError,
    NotExecutedError,
    SchemaMismatchError,
    UnusableDatabaseError,
)
from task_store.facts import DatabaseFacts

_log = logging.getLogger(__name__)

OnChanged: TypeAlias = Callable[[Collection[UUID]], None]
"""Takes the ids of tasks that have changed."""
OnHappened: TypeAlias = Callable[[tuple[str, Priority, str], Event, int], None]
"""Takes what kind of tasks (queue, priority, type) an event has happened to, the event, and to how many of them."""

_SERVER_SHARE = 0.9
"""The part of the deadline after which the server ends a statement: so that a slow one is told from a lost server."""
_GRACE_SECONDS = 0.5
"""How much later than the driver's own timeout ours comes, so that the driver can cancel the statement in order."""
_CLOSING_SECONDS = 3.0
"""How long closing the connections may take, however long statements may."""
_WAITING = BackOff(first_seconds=0.2, longest_seconds=3.0)
"""The pauses between two attempts to reach a database that does not answer yet."""


class Database:
    """A pool of connections, opened when they are needed, on which statements run.

    Args:
        url: as a user writes it, `postgresql://user:password@host:5432/tasks`, with the parameters of libpq
            (`_address`). An `application_name` in it wins.
        pool_size: how many connections at most. A call waits up to `deadline_seconds` for one.
        deadline_seconds: how long a call waits for one statement, connecting included. A statement whose call has
            given up may still commit.
        statement_timeout_seconds: after how long the server ends a statement; by default nine tenths of the
            deadline.
        application_name: the name of the connections in pg_stat_activity.
        on_changed: called with the ids of tasks whose version a statement has changed (all but dispatch), once it was
            answered, on the event loop that called `fetch`. It must return at once and must not raise. A change whose
            answer was lost is not told.
        on_happened: called with what happened to tasks that no attempt of this process ran (sweep, reject, cancel and
            rerun), as `on_changed` is, once for each kind and event of a statement.

    Raises:
        UnusableDatabaseError: the URL cannot be used. Nothing is connected yet.

    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        deadline_seconds: float = 3.0,
        statement_timeout_seconds: float | None = None,
        application_name: str = "task-store",
        on_changed: OnChanged | None = None,
        on_happened: OnHappened | None = None,
    ) -> None:
        self.url = url
        self.address = DatabaseAddress.parse(url)
        self._deadline_seconds = deadline_seconds
        self._on_changed = on_changed
        self._on_happened = on_happened
        self._engine = create_async_engine(
            DIALECT,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=deadline_seconds,
            pool_recycle=1800,
            hide_parameters=True,
            json_serializer=_to_json,
            json_deserializer=str,
            async_creator=connector(
                self.address,
                connect_seconds=deadline_seconds,
                command_seconds=deadline_seconds,
                server_settings={
                    "application_name": application_name,
                    "statement_timeout": str(
                        int(1000 * (statement_timeout_seconds or _SERVER_SHARE * deadline_seconds))
                    ),
                    "jit": "off",
                },
            ),
        )
        self._watch = ConnectionWatch(self._engine)

    async def fetch(self, statement: Statement, values: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Run one statement in a transaction of its own and return its rows, each by column name.

        Empty for a statement that returns no rows. What was not executed, since its connection had ended or leads to a
        database that is read-only, is sent once more.

        Raises:
            StoreError: see `task_store.errors`. After DatabaseUnavailableError the statement may have taken place.

        """
        end = asyncio.get_running_loop().time() + self._deadline_seconds + _GRACE_SECONDS
        try:
            rows = await self._run(statement, values, end)
        except NotExecutedError:
            rows = await self._run(statement, values, end)
        if statement.tells_changes and self._on_changed is not None:
            _tell_changes(rows, self._on_changed)
        if statement.tells_events and self._on_happened is not None:
            _tell_events(rows, self._on_happened)
        return rows

    async def _run(self, statement: Statement, values: Mapping[str, Any] | None, end: float) -> Sequence[Row]:
        try:
            async with asyncio.timeout_at(end):
                return await (self._fetch_built(statement) if statement.is_built else self._fetch(statement, values))
        except FOREIGN_ERRORS as error:
            raise classify(error) from error

    async def _fetch_built(self, statement: Statement) -> Sequence[Row]:
        async with self._engine.connect() as connection:
            try:
                return cast(Sequence[Row], (await connection.execute(statement.sql)).mappings().all())
            except FOREIGN_ERRORS as error:
                self._watch.failed(error)
                raise

    async def _fetch(self, statement: Statement, values: Mapping[str, Any] | None) -> Sequence[Row]:
        """Run a statement by the driver itself: SQLAlchemy would take as long again, and it has nothing to convert."""
        sent = driver_statement(statement.sql)
        connection = await self._engine.raw_connection()
        driver: Any = connection.driver_connection
        try:
            rows: Sequence[Row] = await driver.fetch(sent.text, *sent.arguments(values or {}))
        except FOREIGN_ERRORS as error:
            is_lost = driver.is_closed()
            self._watch.failed(error, is_lost=is_lost)
            raise classify_sent(error, is_lost=is_lost) from error
        except BaseException:
            driver.terminate()  # nobody waits for the answer; the pool opens another one
            raise
        else:
            return rows
        finally:
            connection.close()

    async def require_writable(self) -> None:
        """Return if the database takes writes. A connection that was left over from one that did not is replaced.

        Raises:
            NotExecutedError: it is read-only.

        """
        for _ in range(2):
            (row,) = await self.fetch(server.IS_READ_ONLY)
            if not row["is_read_only"]:
                return
            self._watch.distrust()
        raise NotExecutedError(READ_ONLY)

    async def facts(self) -> DatabaseFacts:
        """Return the server's version and the settings that an operator should know."""
        (row,) = await self.fetch(server.FACTS)
        return DatabaseFacts(**row)

    async def revision(self) -> str | None:
        """Return the revision of the schema, or None if no migration has run yet."""
        try:
            rows = await self.fetch(server.REVISION)
        except SchemaMismatchError:
            return None
        return rows[0]["version_num"] if rows else None

    async def wait_for_revision(self, seconds: float, *, needs_schema: bool = False) -> str | None:
        """Wait until the database answers and return the revision of its schema, or None if it has none.

        For a process that may start before its database. With `needs_schema` it waits for a schema too, of any
        revision: somebody else may be about to create it.

        Raises:
            UnusableDatabaseError: it can never be used as it is. Raised at once.
            DatabaseUnavailableError: it has not answered within `seconds`.

        """
        clock = asyncio.get_running_loop().time
        end, waits = clock() + seconds, 0
        while True:
            waits += 1
            pause = _WAITING.pause_seconds(waits)
            is_last = clock() + pause > end
            try:
                revision = await self.revision()
            except DatabaseUnavailableError as error:
                if is_last or isinstance(error, UnusableDatabaseError):
                    raise
                _log.warning("waiting_for_database", extra={"reason": str(error), **self._waits(pause)})
            else:
                if is_last or revision is not None or not needs_schema:
                    return revision
                _log.warning("waiting_for_schema", extra=self._waits(pause))
            await asyncio.sleep(pause)

    def _waits(self, pause: float) -> dict[str, object]:
        return {"database": str(self.address), "again_in_seconds": pause}

    async def aclose(self) -> None:
        """Close the connections.

        Raises:
            DatabaseUnavailableError: they could not be closed within the deadline, or within 3 s.

        """
        try:
            async with asyncio.timeout(min(self._deadline_seconds, _CLOSING_SECONDS)):
                await self._engine.dispose()
        except FOREIGN_ERRORS as error:
            raise DatabaseUnavailableError("the database connections could not be closed in time") from error

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _tell_changes(rows: Sequence[Row], on_changed: OnChanged) -> None:
    changed = [row for row in rows if row.get("event", row) is not None]
    if ids := [task_id for row in changed for task_id in row.get("ids") or (row["id"],)]:
        on_changed(ids)


def _tell_events(rows: Sequence[Row], on_happened: OnHappened) -> None:
    counts: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        if row["event"] is not None:
            counts[row["queue"], row["priority"], row["type"], row["event"]] += row.get("tasks", 1)
    for (queue, priority, type_, event), count in counts.items():
        on_happened((queue, Priority(priority), type_), Event(event), count)


def _to_json(value: object) -> str:
    return orjson.dumps(value).decode()
