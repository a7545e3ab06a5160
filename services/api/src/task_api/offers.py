"""Keeps what the payloads of the types on offer must look like, so that no request asks the database for it.

**Invariants**

- One read at a time; it ends by itself, since each of its statements has a deadline.
- Where the database does not answer nothing is known, and every payload is accepted: the worker judges.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from task_api.payload_shapes import PayloadShape
from task_runtime import get_logger
from task_store import LiveWorkers, StoreError, TypeVersion

_log = get_logger(__name__)


class Offers:
    """The shapes of payloads that live workers take, by queue and type.

    Args:
        live: reads what is on offer.
        clock: seconds that only grow.

    """

    def __init__(self, live: LiveWorkers, clock: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._clock = clock
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._schema_shapes: dict[TypeVersion, PayloadShape | None] = {}
        self._shapes: Mapping[tuple[str, str], tuple[PayloadShape, ...]] = {}

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
            self._shapes = await self._read_shapes()
        except StoreError as error:
            _log.warning("offers_unknown", reason=str(error))
            self._shapes = {}
        finally:
            self._read_at = began_at
            self._reading = None

    async def _read_shapes(self) -> Mapping[tuple[str, str], tuple[PayloadShape, ...]]:
        versions = await self._live.versions()
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
