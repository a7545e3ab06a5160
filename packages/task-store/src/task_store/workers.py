"""Leases, elections and offers of the workers, and what the leader does beside dispatch: sweep, reject, purge."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from task_contracts import Priority
from task_store._batcher import Batcher
from task_store._statements import purge, record, reject, workers
from task_store.batch_limit import text_bytes
from task_store.database import Database
from task_store.records import Ended, HeldRow, LiveOffers, LostWorker, Offer, OldTask, WorkerProcess, schema_hash

_BEFORE_ALL = OldTask(UUID(int=0), datetime.min.replace(tzinfo=UTC), 0)

_FRESH_OFFER = timedelta(seconds=30)


def new_worker_id() -> UUID:
    """Return an id for one start of one worker. Later ones are larger, so the oldest worker is the first to lead."""
    return uuid7()


class Workers:
    """The workers of this database. Every statement commits by itself; all but `register` are safe to repeat."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offered = Batcher(self._offer_all, size_bytes=lambda one: text_bytes(one.queue, one.type, one.schema))

    async def register(
        self, worker_id: UUID, offer: Offer, lease: timedelta, process: WorkerProcess | None = None
    ) -> None:
        """Begin the lease of a worker under a new id; it expires `lease` from now.

        Without a `process`, nobody is told where it runs.

        Raises:
            UnstorableValuesError: the id was used before.

        """
        values = {
            "worker_id": worker_id,
            "queues": list(offer.queues),
            "types": offer.types,
            "schema_hashes": offer.schema_hashes,
            "lease": lease,
            **asdict(process or WorkerProcess()),
        }
        await self._database.fetch(workers.REGISTER, values)

    async def renew(self, worker_id: UUID, lease: timedelta, *, in_flight: int = 0) -> bool:
        """Renew the lease to `lease` from now; False if this worker is dead and must register under a new id.

        `in_flight` is how many tasks it has, for those who look at workers.
        """
        values = {"worker_id": worker_id, "lease": lease, "in_flight": in_flight}
        return bool(await self._database.fetch(workers.RENEW, values))

    async def held_rows(self, worker_id: UUID) -> list[HeldRow]:
        """Return the tasks that a worker holds, as the database has it."""
        rows = await self._database.fetch(workers.HELD, {"worker_id": worker_id})
        return [HeldRow(**row) for row in rows]

    async def held_among(self, worker_id: UUID, ids: Sequence[UUID]) -> list[HeldRow]:
        """Return those of `ids` that a worker holds, at the same cost whatever else it held before."""
        rows = await self._database.fetch(workers.HELD_AMONG, {"worker_id": worker_id, "id": list(ids)})
        return [HeldRow(**row) for row in rows]

    async def drain(self, worker_id: UUID) -> None:
        """Mark this worker as draining: from now on no task counts its loss."""
        await self._database.fetch(workers.DRAIN, {"worker_id": worker_id})

    async def retire(self, worker_id: UUID) -> None:
        """End the lease of a worker that stops. The sweep brings back what it still holds.

        Each of these tasks counts a loss, unless `drain` was called before.
        """
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
        """Write that these types are offered now, with the JSON Schemas of their payloads.

        A type with another schema than before is another version, in a row of its own. What any worker has written less
        than 30 s ago is left as it is. In statements of at most
        `BATCH_BYTES`; a type that fails keeps no other one from being written.

        Raises:
            StoreError: some are not written.

        """
        texts = [
            (type_, schema_hash(schema), None if schema is None else orjson.dumps(schema).decode())
            for type_, schema in offer.schema_by_type.items()
        ]
        rows = [_OfferedType(queue, *one) for queue in set(offer.queues) for one in texts]
        answers = await asyncio.gather(*map(self._offered.submit, rows), return_exceptions=True)
        for error in answers:
            if error is not None:
                raise error

    async def live_offers(self) -> LiveOffers:
        """Return what live workers offer. Draining ones do not count."""
        rows = await self._database.fetch(workers.LIVE_OFFERS)
        types: defaultdict[str, set[str]] = defaultdict(set)
        workers_by_queue: Counter[str] = Counter()
        for row in rows:
            for queue in set(row["queues"]) if row["types"] else ():
                types[queue].update(row["types"])
                workers_by_queue[queue] += row["workers"]
        return LiveOffers({queue: tuple(sorted(types[queue])) for queue in types}, dict(workers_by_queue))

    async def declare_dead(self, worker_id: UUID, lease: timedelta) -> list[LostWorker]:
        """Declare every worker dead whose lease has expired, and return them.

        Does nothing unless `worker_id`, who declares it, has ticked without a gap for a lease.
        """
        rows = await self._database.fetch(workers.DECLARE_DEAD, {"worker_id": worker_id, "lease": lease})
        return [LostWorker(**row) for row in rows]

    async def dead_holders(self) -> list[UUID]:
        """Return the dead workers that hold tasks, for `sweep`.

        A worker that holds tasks and has no row gets a dead one first, and is among them. This walks the dead entries
        that an old snapshot keeps in the index of running tasks: it may take long.
        """
        return [row["id"] for row in await self._database.fetch(workers.DEAD_HOLDERS)]

    async def sweep(self, worker_ids: Sequence[UUID], *, rows: int) -> list[Ended]:
        """Bring back or end up to `rows` tasks of those of these workers that are dead, and return their attempts."""
        swept = await self._database.fetch(record.SWEEP, {"worker_id": list(worker_ids), "rows": rows})
        return [Ended.from_row(row) for row in swept]

    async def reject(self, lease: timedelta, *, rows: int) -> list[tuple[UUID, str]]:
        """Fail up to `rows` tasks that have been due for a lease and whose type nobody offers.

        Returns their ids and types.
        """
        values = {"priority": [str(priority) for priority in Priority], "lease": lease, "rows": rows}
        return [(row["id"], row["type"]) for row in await self._database.fetch(reject.REJECT, values)]

    async def old_tasks(self, age: timedelta, *, rows: int, after: OldTask | None = None) -> list[OldTask]:
        """Return up to `rows` tasks that ended more than `age` ago, the oldest first; those behind `after` if given."""
        last = after or _BEFORE_ALL
        values = {"age": age, "rows": rows, "after_finished_at": last.finished_at, "after_id": last.id}
        return [OldTask(**row) for row in await self._database.fetch(purge.OLD, values)]

    async def purge(self, age: timedelta, ids: Sequence[UUID]) -> int:
        """Delete those of these tasks that ended more than `age` ago and are not locked; return how many."""
        return len(await self._database.fetch(purge.PURGE, {"age": age, "id": list(ids)}))

    async def forget_dead(self, age: timedelta, *, rows: int) -> list[UUID]:
        """Delete the rows of up to `rows` workers that have been dead for `age` and hold no task; return their ids."""
        return [row["id"] for row in await self._database.fetch(workers.FORGET_DEAD, {"age": age, "rows": rows})]

    async def forget_offers(self, age: timedelta, *, rows: int) -> list[str]:
        """Delete up to `rows` versions of types that no live worker offers and none has for `age`; return the types."""
        return [row["type"] for row in await self._database.fetch(workers.FORGET_OFFERS, {"age": age, "rows": rows})]

    async def _offer_all(self, batch: Sequence[_OfferedType]) -> list[None]:
        versions = list({(one.queue, one.type, one.schema_hash): one for one in batch}.values())
        values = {
            "fresh": _FRESH_OFFER,
            "queue": [one.queue for one in versions],
            "type": [one.type for one in versions],
            "schema_hash": [one.schema_hash for one in versions],
            "payload_schema": [one.schema for one in versions],
        }
        await self._database.fetch(workers.OFFER, values)
        return [None] * len(batch)


@dataclass(frozen=True, slots=True)
class _OfferedType:
    """A type that is offered for a queue, with its schema as JSON text, or None."""

    queue: str
    type: str
    schema_hash: str
    schema: str | None
