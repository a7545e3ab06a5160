"""Keeps which types live workers offer and what their payloads must look like: so no request asks the database.

The check of payloads, the counts of activity and the labels of metrics all read it here.

**Invariants**

- One read at a time; it ends by itself, since each of its statements has a deadline.
- Where the database does not answer no shape is known, and every payload is accepted: the worker judges. The names of
  the types stay as they were.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

from task_api.payload_shapes import PayloadShape
from task_runtime import get_logger
from task_store import LiveWorkers, StoreError, TypeVersion

STALE_SECONDS = 5.0
"""What was read so long ago is read again, by the way."""
_READ_SECONDS = 3.0
"""How long activity and metrics wait for it, in the background: no longer than a statement may take."""

_log = get_logger(__name__)


class Offers:
    """The types of live workers that take tasks, and the shapes of payloads that they take. A read ends with the block.

    Args:
        live: reads what is on offer, best on a connection that no load keeps busy.
        clock: seconds that only grow.

    """

    def __init__(self, live: LiveWorkers, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._clock = clock
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._schema_shapes: dict[TypeVersion, PayloadShape | None] = {}
        self._shapes: Mapping[tuple[str, str], tuple[PayloadShape, ...]] = {}
        self.types: frozenset[str] = frozenset()
        """The names of the types, as they were last read."""
        self.reaches_database = False
        """Whether the database answered the last time."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def live_types(self) -> frozenset[str]:
        """Return the names of the types, read at most `STALE_SECONDS` ago; those known before if nobody answers."""
        await self.refresh(STALE_SECONDS, _READ_SECONDS)
        return self.types

    def shapes(self, queue: str, type_: str) -> tuple[PayloadShape, ...]:
        """Return the shapes of all versions of a type, one of which a payload must fit.

        Empty where any payload is accepted: no worker lives that offers the type, or one of them takes any.
        """
        return self._shapes.get((queue, type_), ())

    def is_older_than(self, seconds: float) -> bool:
        """Return whether what is known was read longer ago."""
        return self._clock() - self._read_at > seconds

    async def refresh(self, max_age_seconds: float, wait_seconds: float) -> bool:
        """Read again what was read longer ago than `max_age_seconds`; wait up to `wait_seconds` for it.

        Return whether what is known was read no longer than that before this call.
        """
        oldest = self._clock() - max_age_seconds
        if self._read_at < oldest:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            await asyncio.wait([self._reading], timeout=wait_seconds)
        return self._read_at >= oldest

    async def _read(self) -> None:
        began_at = self._clock()
        try:
            versions = await self._live.versions()
            self._shapes = await self._read_shapes(versions)
        except StoreError as error:
            if self.reaches_database:  # said once, not at each read until it answers again
                _log.warning("offers_unknown", reason=str(error))
            self._shapes, self.reaches_database = {}, False
        else:
            self.types, self.reaches_database = frozenset(version.type for version in versions), True
        finally:
            self._read_at = began_at
            self._reading = None

    async def _read_shapes(
        self, versions: Collection[TypeVersion]
    ) -> Mapping[tuple[str, str], tuple[PayloadShape, ...]]:
        known = {version: self._schema_shapes[version] for version in versions if version in self._schema_shapes}
        schemas = await self._live.schemas([version for version in versions if version not in known])
        known |= {version: PayloadShape.of(schema) for version, schema in schemas.items()}
        self._schema_shapes = known  # a version has one schema for ever
        return _by_type(versions, known)


def _by_type(
    versions: Collection[TypeVersion], known: Mapping[TypeVersion, PayloadShape | None]
) -> dict[tuple[str, str], tuple[PayloadShape, ...]]:
    """Return the shapes of each type of which every version demands something."""
    by_type: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for version in versions:
        by_type[version.queue, version.type].append(known.get(version))
    return {lane: tuple(shapes) for lane, shapes in by_type.items() if None not in shapes}
