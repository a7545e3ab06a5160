"""What people and the API ask about workers: who lives, and which types they offer in which versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import zip_longest
from typing import Any, NamedTuple

from task_contracts import TypeInfo, WorkerInfo
from task_store._row import Row
from task_store._statements import live
from task_store.database import Database
from task_store.stored_json import UnreadableJsonError, read_object


class TypeVersion(NamedTuple):
    """A version of a type, as a worker offers it for a queue.

    `schema_hash` is empty for a type that takes any payload, and None where the worker does not say it.
    """

    queue: str
    type: str
    schema_hash: str | None


class LiveWorkers:
    """Reads who lives and what is on offer. Each call costs as much as there are live workers or types, no more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers, those too that drain, the oldest first."""
        return [WorkerInfo.model_construct(**row) for row in await self._database.fetch(live.LIVE_WORKERS)]

    async def versions(self) -> Counter[TypeVersion]:
        """Return which versions of types are on offer, each with how many workers offer it. Draining ones do not."""
        counted: Counter[TypeVersion] = Counter()
        for row in await self._database.fetch(live.LIVE_VERSIONS):
            for type_, schema_hash in zip_longest(row["types"], row["schema_hashes"][: len(row["types"])]):
                for queue in set(row["queues"]):
                    counted[TypeVersion(queue, type_, schema_hash)] += row["workers"]
        return counted

    async def schemas(self, versions: Collection[TypeVersion]) -> dict[TypeVersion, dict[str, Any] | None]:
        """Return the JSON Schemas of the payloads of some versions; None for one that takes any object.

        A version whose worker has not written it yet, or whose schema cannot be read, is left out.
        """
        known = [version for version in versions if version.schema_hash is not None]
        values = {name: [getattr(one, name) for one in known] for name in TypeVersion._fields}
        read: dict[TypeVersion, dict[str, Any] | None] = {}
        for row in await self._database.fetch(live.SCHEMAS, values) if known else ():
            schema = _schema(row)
            if schema != _UNREADABLE:
                read[TypeVersion(row["queue"], row["type"], row["schema_hash"])] = schema
        return read

    async def types(self) -> list[TypeInfo]:
        """Return the types on offer, by name and queue, each version that live workers offer by itself, latest first.

        Of a type that nobody offers any more, the latest version is shown if it was on offer within 7 days.
        """
        versions = await self.versions()
        offered = await self._database.fetch(live.OFFERED)
        alive = {(version.queue, version.type) for version in versions}
        shown: dict[tuple[str, str], list[TypeInfo]] = {}
        for row in offered:
            lane = (row["queue"], row["type"])
            workers = versions[TypeVersion(*lane, row["schema_hash"])]
            if workers or (lane not in alive and lane not in shown):
                shown.setdefault(lane, []).append(_type_info(row, workers))
        return sorted((info for infos in shown.values() for info in infos), key=lambda info: (info.type, info.queue))


_UNREADABLE: dict[str, Any] = {"code": "unreadable_json"}
"""Is shown in the place of a schema, put there by SQL, that cannot be read."""


def _type_info(row: Row, workers: int) -> TypeInfo:
    return TypeInfo.model_construct(
        type=row["type"],
        queue=row["queue"],
        payload_schema=_schema(row),
        last_offered_at=row["last_offered_at"],
        live_workers=workers,
    )


def _schema(row: Row) -> dict[str, Any] | None:
    text = row["payload_schema"]
    if text is None:
        return None
    try:
        return read_object("payload_schema", text)
    except UnreadableJsonError:
        return _UNREADABLE
