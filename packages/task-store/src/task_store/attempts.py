"""Attempts: claim tasks, write their progress, record how they ended. What a worker does to the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from task_contracts import Priority, Progress
from task_contracts.lifecycle import Event
from task_store._batcher import Batcher
from task_store._statements import claims, progress, record
from task_store._statements.statement import Statement
from task_store.database import Database
from task_store.records import Claim, Ended, Ending, Offer

_CANDIDATES_FACTOR = 4
"""So many times its slots the poll looks at, to step past what other workers are taking at the same moment."""


class Attempts:
    """The repository behind one worker.

    Args:
        database: for the claims of delivered ids, for progress and for recording.
        poll: for claims straight from the table: a connection of its own with a short statement timeout.
        offer: what the worker serves.

    """

    def __init__(self, database: Database, poll: Database, offer: Offer) -> None:
        self._database = database
        self._poll = poll
        self._offered = {"queues": list(offer.queues), "types": offer.types}
        self._recorded = Batcher(self._record_all)
        self._progressed = Batcher(self._progress_all)

    async def claim(self, worker_id: UUID, ids: Sequence[UUID], lease_token: UUID) -> list[Claim]:
        """Claim those of `ids` that are due, of an offered type, no suspects, and not locked by anybody.

        What is not returned is not this worker's. On DatabaseUnavailableError the claim may yet have been made;
        reconciling finds it. Not to be repeated with the same token.
        """
        values = {"id": list(ids), "worker_id": worker_id, "lease_token": lease_token, **self._offered}
        return await self._claim(self._database, claims.BY_ID, values)

    async def claim_overdue(
        self, worker_id: UUID, lease_token: UUID, *, slots: int, weights: Mapping[Priority, int], overdue: timedelta
    ) -> list[Claim]:
        """Claim up to `slots` tasks that have been due for `overdue`, dispatched or not: the poll.

        By the weights among the priorities, longest due first within each. Errors as for `claim`.
        """
        values = {
            "worker_id": worker_id,
            "lease_token": lease_token,
            "priority": [str(priority) for priority in weights],
            "weight": [float(weight) for weight in weights.values()],
            "overdue": overdue,
            "slots": slots,
            "candidates": slots * _CANDIDATES_FACTOR,
            **self._offered,
        }
        return await self._claim(self._poll, claims.POLL, values)

    async def claim_suspect(self, worker_id: UUID, lease_token: UUID, *, overdue: timedelta) -> Claim | None:
        """Claim one suspect that has been due for `overdue`, unless this worker holds one already."""
        values = {"worker_id": worker_id, "lease_token": lease_token, "overdue": overdue, **self._offered}
        claimed = await self._claim(self._poll, claims.SUSPECT, values)
        return claimed[0] if claimed else None

    async def record(self, ending: Ending) -> Ended | None:
        """Write the end of an attempt; None if it is no longer this worker's, so that nothing more is owed.

        Concurrent calls share one statement. Safe to repeat: where an answer was lost, the repeat returns None.

        Raises:
            UnstorableValuesError: the database refuses the result or the error, which then must be replaced.

        """
        return await self._recorded.submit(ending)

    async def report_progress(self, task_id: UUID, lease_token: UUID, reported: Progress) -> bool:
        """Write how far a task has come; False if it is no longer this worker's. Concurrent calls share a statement."""
        return await self._progressed.submit((task_id, lease_token, reported))

    async def _claim(self, database: Database, statement: Statement, values: Mapping[str, Any]) -> list[Claim]:
        rows = await database.fetch(statement, values)
        return [Claim(**{**row, "priority": Priority(row["priority"])}) for row in rows]

    async def _record_all(self, batch: Sequence[Ending]) -> list[Ended | None]:
        endings = sorted(batch, key=lambda ending: ending.id)
        rows = await self._database.fetch(record.RECORD, _columns(endings))
        ended = [Ended(**{**row, "event": Event(row["event"])}) for row in rows]
        by_lease = {(one.id, one.lease_token): one for one in ended}
        return [by_lease.get((ending.id, ending.lease_token)) for ending in batch]

    async def _progress_all(self, batch: Sequence[tuple[UUID, UUID, Progress]]) -> list[bool]:
        last_by_lease = {(task_id, token): reported for task_id, token, reported in batch}
        leases = sorted(last_by_lease)
        values = {
            "id": [task_id for task_id, _ in leases],
            "lease_token": [token for _, token in leases],
            "progress": [last_by_lease[lease].model_dump_json() for lease in leases],
        }
        held = {(row["id"], row["lease_token"]) for row in await self._database.fetch(progress.PROGRESS, values)}
        return [(task_id, token) in held for task_id, token, _ in batch]


def new_lease_token() -> UUID:
    """Return a token for one claim statement: random, and never used again."""
    return uuid4()


def _columns(endings: Sequence[Ending]) -> dict[str, list[Any]]:
    return {
        "id": [ending.id for ending in endings],
        "lease_token": [ending.lease_token for ending in endings],
        "event": [str(ending.event) for ending in endings],
        "result": [ending.result for ending in endings],
        "error": [None if ending.error is None else ending.error.model_dump_json() for ending in endings],
        "traceback": [ending.traceback for ending in endings],
        "delay_seconds": [ending.delay.total_seconds() for ending in endings],
    }
