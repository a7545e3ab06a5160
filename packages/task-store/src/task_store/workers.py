"""Leases, elections and offers of the workers, and what the leader does beside dispatch: sweep, reject, purge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from task_contracts import Priority
from task_contracts.lifecycle import Event
from task_store._statements import purge, record, reject, workers
from task_store.database import Database
from task_store.records import Ended, HeldRow, LiveOffers, Offer


def new_worker_id() -> UUID:
    """Return an id for one start of one worker. Later ones are larger, so the oldest worker is the first to lead."""
    return uuid7()


class Workers:
    """The workers of this database. Every statement commits by itself; all but `register` are safe to repeat."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, worker_id: UUID, offer: Offer, lease: timedelta) -> None:
        """Begin the lease of a worker under a new id; it expires `lease` from now.

        Raises:
            UnstorableValuesError: the id was used before.

        """
        values = {"worker_id": worker_id, "queues": list(offer.queues), "types": offer.types, "lease": lease}
        await self._database.fetch(workers.REGISTER, values)

    async def renew(self, worker_id: UUID, lease: timedelta) -> bool:
        """Renew the lease to `lease` from now; False if this worker is dead and must register under a new id."""
        return bool(await self._database.fetch(workers.RENEW, {"worker_id": worker_id, "lease": lease}))

    async def held_rows(self, worker_id: UUID) -> list[HeldRow]:
        """Return the tasks that a worker holds, as the database has it."""
        rows = await self._database.fetch(workers.HELD, {"worker_id": worker_id})
        return [HeldRow(**row) for row in rows]

    async def drain(self, worker_id: UUID) -> None:
        """Mark this worker as draining: from now on no task counts its loss."""
        await self._database.fetch(workers.DRAIN, {"worker_id": worker_id})

    async def retire(self, worker_id: UUID) -> None:
        """End the lease of a worker that stops. The sweep brings back what it still holds, without counting a loss."""
        await self._database.fetch(workers.RETIRE, {"worker_id": worker_id})

    async def elect_leader(
        self, worker_id: UUID, *, reaches_broker: bool, interval: timedelta, lease: timedelta
    ) -> UUID | None:
        """Write this worker's tick and return the id of the worker that leads.

        Among the live workers that ticked within three intervals and do not drain, the leader is the first by: ticks
        without a gap for a lease, reaching the broker, the smallest id.

        Args:
            worker_id: this worker.
            reaches_broker: whether this worker can publish.
            interval: how often workers tick. A gap of more than two intervals begins the ticks "without a gap" anew.
            lease: for how long ticks must have come without a gap.

        Returns:
            None if no worker can lead, or if this worker is dead.

        """
        values = {"worker_id": worker_id, "reaches_broker": reaches_broker, "interval": interval, "lease": lease}
        rows = await self._database.fetch(workers.ELECT, values)
        return rows[0]["leader_id"] if rows else None

    async def offer(self, offer: Offer) -> None:
        """Write that these types are offered now, with the JSON Schemas of their payloads."""
        rows = [(queue, type_) for queue in sorted(set(offer.queues)) for type_ in offer.types]
        schemas = [offer.schema_by_type[type_] for _, type_ in rows]
        values: dict[str, list[Any]] = {
            "queue": [queue for queue, _ in rows],
            "type": [type_ for _, type_ in rows],
            "payload_schema": [None if schema is None else orjson.dumps(schema).decode() for schema in schemas],
        }
        await self._database.fetch(workers.OFFER, values)

    async def live_offers(self) -> LiveOffers:
        """Return what live workers offer. Draining ones do not count."""
        rows = await self._database.fetch(workers.LIVE_OFFERS)
        types = {row["queue"]: tuple(row["types"]) for row in rows}
        return LiveOffers(types, {row["queue"]: row["workers"] for row in rows})

    async def declare_dead(self, worker_id: UUID, lease: timedelta) -> list[UUID]:
        """Declare every worker dead whose lease has expired, and return their ids.

        Does nothing unless `worker_id`, who declares it, has ticked without a gap for a lease. Also inserts a dead row
        for every worker of a running task that has no row; those are not returned.
        """
        await self._database.fetch(workers.INSERT_UNKNOWN_AS_DEAD)
        rows = await self._database.fetch(workers.DECLARE_DEAD, {"worker_id": worker_id, "lease": lease})
        return [row["id"] for row in rows]

    async def sweep(self, *, rows: int) -> list[Ended]:
        """Bring back or end up to `rows` tasks of dead workers, and return their attempts."""
        swept = await self._database.fetch(record.SWEEP, {"rows": rows})
        return [Ended(**{**row, "event": Event(row["event"])}) for row in swept]

    async def reject(self, lease: timedelta, *, rows: int) -> list[tuple[UUID, str]]:
        """Fail up to `rows` tasks that have been due for a lease and whose type nobody offers.

        Returns their ids and types.
        """
        values = {"priority": [str(priority) for priority in Priority], "lease": lease, "rows": rows}
        return [(row["id"], row["type"]) for row in await self._database.fetch(reject.REJECT, values)]

    async def purge(self, age: timedelta, *, rows: int) -> int:
        """Delete up to `rows` tasks that ended more than `age` ago; return how many."""
        return len(await self._database.fetch(purge.PURGE, {"age": age, "rows": rows}))

    async def forget_dead(self, age: timedelta) -> None:
        """Delete the rows of workers that have been dead for `age` and hold no task."""
        await self._database.fetch(workers.FORGET_DEAD, {"age": age})
