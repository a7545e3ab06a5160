"""What a worker does to tasks: claims them, writes their progress, records how their attempts ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
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
"""How many candidates the poll reads for each free slot: other workers may be locking some at the same moment."""


class Attempts:
    """Claims tasks for one worker, and records how their attempts end.

    Args:
        database: for claims of delivered ids, for progress and for records.
        poll: for claims straight from the table; best a pool of one connection with a short statement timeout.
        offer: the queues that the worker serves and the types that it runs.

    """

    def __init__(self, database: Database, poll: Database, offer: Offer) -> None:
        self._database = database
        self._poll = poll
        self._offered = {"queues": list(offer.queues), "types": offer.types}
        self._recorded = Batcher(self._record_all, size_bytes=attrgetter("size_bytes"))
        self._progressed = Batcher(self._progress_all)

    async def claim(self, worker_id: UUID, ids: Sequence[UUID], lease_token: UUID) -> list[Claim]:
        """Claim those of `ids` that are due, of an offered type and queue, no suspects, and not locked by anybody.

        An id that is not returned does not belong to this worker. After a DatabaseUnavailableError the claim may still
        take place; reconciling finds it. Do not repeat a call with the same token.
        """
        values = {"id": list(ids), "worker_id": worker_id, "lease_token": lease_token, **self._offered}
        return await self._claim(self._database, claims.BY_ID, values)

    async def claim_overdue(
        self, worker_id: UUID, lease_token: UUID, *, slots: int, weights: Mapping[Priority, int], overdue: timedelta
    ) -> list[Claim]:
        """Claim up to `slots` tasks that have been due for `overdue`, dispatched or not: the poll.

        Priorities share the slots by their weights; within one the longest due goes first. Errors as for `claim`.
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
        """Claim the suspect that has been due longest, for at least `overdue`.

        None if there is none, or if this worker holds one already. Errors as for `claim`.
        """
        values = {"worker_id": worker_id, "lease_token": lease_token, "overdue": overdue, **self._offered}
        claimed = await self._claim(self._poll, claims.SUSPECT, values)
        return claimed[0] if claimed else None

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
    """Return a random token for one claim statement."""
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
