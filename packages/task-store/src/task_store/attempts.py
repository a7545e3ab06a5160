"""What a worker writes of the tasks that it runs: progress, checkpoints, and how their attempts ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from task_contracts import Progress
from task_store._batcher import Batcher
from task_store._statements import checkpoint, progress, record
from task_store._statements.statement import Statement
from task_store.batch_limit import text_bytes
from task_store.database import Database
from task_store.records import AttemptKey, Ended, Ending, WorkerProcess


class _Written(NamedTuple):
    """A JSON text to be written into the row of an attempt; None writes NULL."""

    id: UUID
    lease_token: UUID
    text: str | None

    @property
    def size_bytes(self) -> int:
        return text_bytes(self.text)


class Attempts:
    """Records how the attempts of one worker end, their progress and their checkpoints.

    Args:
        database: where the statements run.
        process: where the worker runs; None keeps that of no attempt.
        on_recorded: told how many endings each answered statement had.

    """

    def __init__(
        self,
        database: Database,
        process: WorkerProcess | None = None,
        *,
        on_recorded: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._process = process
        self._on_recorded = on_recorded
        self._recorded = Batcher(self._record_all, size_bytes=attrgetter("size_bytes"))
        self._progressed = Batcher(self._progress_all)
        self._checkpointed = Batcher(self._checkpoint_all, size_bytes=attrgetter("size_bytes"))

    async def record(self, ending: Ending, *, alone: bool = False) -> Ended | None:
        """Record how an attempt ended.

        Concurrent calls share one statement. Safe to repeat: if only the answer was lost, the repeat returns None.

        Args:
            ending: what the worker asks for.
            alone: send it by itself, beside the shared statements: the server has ended a statement over it alone.

        Returns:
            The attempt as it ended, or None if it no longer belongs to this worker: then there is nothing to record.

        Raises:
            UnstorableValuesError: the database refuses the result or the error; record another one.
            StatementEndedError: the server ended a statement over this ending alone; repeat it `alone`.

        """
        return await self._recorded.submit(ending, alone=alone)

    async def report_progress(self, task_id: UUID, lease_token: UUID, reported: Progress) -> bool:
        """Write how far a task has come; False if it no longer belongs to this worker.

        Concurrent calls share one statement; of several for one attempt the last one counts.
        """
        return await self._progressed.submit(_Written(task_id, lease_token, reported.model_dump_json()))

    async def store_checkpoint(self, key: AttemptKey, text: str | None, *, alone: bool = False) -> bool:
        """Store what a task keeps for its next attempt; False if it no longer belongs to this worker.

        Concurrent calls share one statement; of several for one attempt the last one counts. Safe to repeat. The
        version of the task stays.

        Args:
            key: the attempt.
            text: JSON text that `check_json` accepted; None keeps nothing.
            alone: as for `record`.

        Raises:
            UnstorableValuesError: the database refuses the text.
            StatementEndedError: the server ended a statement over this one alone; repeat it `alone`.

        """
        return await self._checkpointed.submit(_Written(key.id, key.lease_token, text), alone=alone)

    async def _record_all(self, batch: Sequence[Ending]) -> list[Ended | None]:
        endings = sorted(batch, key=lambda ending: ending.id)
        process = self._process
        values = {**_columns(endings), "host": process and process.host, "pid": process and process.pid}
        rows = await self._database.fetch(record.RECORD, values)
        self._on_recorded(len(endings))
        ended = [Ended.from_row(row) for row in rows]
        by_lease = {(one.id, one.lease_token): one for one in ended}
        return [by_lease.get((ending.id, ending.lease_token)) for ending in batch]

    async def _progress_all(self, batch: Sequence[_Written]) -> list[bool]:
        return await self._write_all(progress.PROGRESS, "progress", batch)

    async def _checkpoint_all(self, batch: Sequence[_Written]) -> list[bool]:
        return await self._write_all(checkpoint.CHECKPOINT, "checkpoint", batch)

    async def _write_all(self, statement: Statement, column: str, batch: Sequence[_Written]) -> list[bool]:
        """Write the last text of each lease, and return for each of `batch` whether its lease holds."""
        text_by_lease = {(one.id, one.lease_token): one.text for one in batch}
        leases = sorted(text_by_lease)
        values = {
            "id": [task_id for task_id, _ in leases],
            "lease_token": [token for _, token in leases],
            column: [text_by_lease[lease] for lease in leases],
        }
        held = {(row["id"], row["lease_token"]) for row in await self._database.fetch(statement, values)}
        return [(one.id, one.lease_token) in held for one in batch]


def _columns(endings: Sequence[Ending]) -> dict[str, list[Any]]:
    return {
        "id": [ending.id for ending in endings],
        "lease_token": [ending.lease_token for ending in endings],
        "event": [str(ending.event) for ending in endings],
        "result": [ending.result for ending in endings],
        "error": [None if ending.error is None else ending.error.model_dump_json() for ending in endings],
        "traceback": [ending.traceback for ending in endings],
        "fingerprint": [ending.kind.fingerprint if ending.kind else None for ending in endings],
        "delay_seconds": [ending.delay.total_seconds() for ending in endings],
    }
