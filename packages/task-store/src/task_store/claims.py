"""How a worker gets tasks: it claims them by their ids, which come from messages, or from the table: that is the poll.

**Invariants**

- A task whose claim fails alone, while other statements are answered, rests: it is left out for a minute, so that it
  keeps no other task waiting (`task_store.resting`). A claim that was not executed makes nothing rest.
- A scan that got no answer is made smaller: fewer candidates, of fewer lanes, which take turns.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any
from uuid import UUID, uuid4

from task_contracts import Priority
from task_store._row import Row
from task_store._statements import claims
from task_store._statements.statement import Statement
from task_store.batch_limit import BATCH_BYTES, BatchLimit
from task_store.database import Database
from task_store.errors import NotExecutedError, StoreError
from task_store.low_water import BEGINNING, LowWater
from task_store.records import Claim, Claimed, Lane, Offer
from task_store.resting import Resting

_log = logging.getLogger(__name__)

_CANDIDATES_FACTOR = 4
"""How many candidates the poll reads for each free slot: other workers may be locking some at the same moment."""
_CANDIDATES_MIN = 4
"""Of each lane, however many there are."""
_SCAN_ROWS_MAX = 4_000
_CLAIM_COLUMNS = len(Claim._fields)
_PRIORITY = Claim._fields.index("priority")
_SUSPECTS = 4
"""Others may be claiming the first ones at the same moment."""


class Claims:
    """Claims tasks for one worker.

    Args:
        database: for claims by ids.
        poll: for scans of the table, and suspects; best a pool of one connection with a short statement timeout.
        slow: for whole scans of the table, which may take long.
        offer: the queues that the worker serves and the types that it runs.
        weights: how the priorities share the slots that the poll fills, 1 or more each.

    """

    def __init__(
        self, database: Database, poll: Database, slow: Database, offer: Offer, weights: Mapping[Priority, int]
    ) -> None:
        self._database = database
        self._poll = poll
        self._slow = slow
        self._offered = {"queues": list(offer.queues), "types": offer.types}
        self._weights = weights
        # Neighbours differ in their priority first: where a scan reads a part of the lanes, each has its share of it.
        self._lanes = deque(Lane(q, p, t) for q, t, p in product(offer.queues, offer.types, weights))
        self._low_water = LowWater()
        self._lanes_with_tasks = len(self._lanes)
        self._scan_limit = BatchLimit(_SCAN_ROWS_MAX)
        self._resting = Resting()

    async def by_id(
        self,
        worker_id: UUID,
        ids: Sequence[UUID],
        lease_token: UUID,
        *,
        slots: int | None = None,
        max_bytes: int = BATCH_BYTES,
    ) -> Claimed:
        """Claim those of `ids` that are due, of an offered type and queue, no suspects, and not locked by anybody.

        At most `slots` of them (all if left out), in their order, as long as their payloads, labels and checkpoints
        fit into `max_bytes` together; the first one always does. An id that is neither returned nor left does not
        belong to this worker, or rests. After a DatabaseUnavailableError the claim may still take place; reconciling
        finds it. Do not repeat a call with the same token.
        """
        resting = set(self._resting.ids())
        awake = [task_id for task_id in ids if task_id not in resting]
        if not awake:
            return Claimed()
        values = {
            "id": awake,
            "worker_id": worker_id,
            "lease_token": lease_token,
            "slots": len(awake) if slots is None else slots,
            "bytes": max_bytes,
            **self._offered,
        }
        return await self._claim(claims.BY_ID, awake, values)

    async def find_overdue(self, *, slots: int, overdue: timedelta) -> list[UUID]:
        """Return ids of tasks that have been due for `overdue`, dispatched or not: the poll.

        Priorities take turns by their weights; within one the longest due goes first. Claim `slots` of them, in their
        order. There are up to four times as many, since other workers may be claiming some at the same moment.

        Raises:
            StoreError: the database did not answer.

        """
        rows = self._scan_limit.items
        readable = self._low_water.readable(self._next_lanes(max(1, rows // _CANDIDATES_MIN)))
        try:
            ids = await self._candidates(self._poll, readable, slots, overdue, rows)
        except StoreError:
            self._scan_limit.unanswered(rows)
            self._low_water.unanswered()
            self._lanes_with_tasks = len(self._lanes)
            raise
        self._scan_limit.answered(rows)
        return ids[: slots * _CANDIDATES_FACTOR]

    async def find_suspects(self, *, overdue: timedelta) -> list[UUID]:
        """Return some suspects that have been due for `overdue`, longest first, to be claimed one by one.

        Raises:
            StoreError: the database did not answer.

        """
        values = {"overdue": overdue, "resting": self._resting.ids(), "suspects": _SUSPECTS, **self._offered}
        rows = await self._poll.fetch(claims.SUSPECTS, values)
        self._resting.answered()
        return [row["id"] for row in rows]

    async def suspect(self, worker_id: UUID, task_id: UUID, lease_token: UUID, *, held_ids: Sequence[UUID]) -> Claimed:
        """Claim this suspect; nothing if it is taken, or if one of `held_ids`, which this worker holds, is a suspect.

        Errors as for `by_id`.
        """
        values = {"worker_id": worker_id, "id": task_id, "lease_token": lease_token, "held_id": list(held_ids)}
        values |= self._offered
        return await self._claim(claims.SUSPECT, [task_id], values)

    @property
    def is_whole_due(self) -> bool:
        """Whether to call `find_in_whole` now; never while the poll reads its lanes from the beginning anyway."""
        return self._low_water.is_whole_due(self._lanes)

    async def find_in_whole(self, *, slots: int, overdue: timedelta) -> list[UUID]:
        """Read all lanes from the beginning, and return up to `slots` ids that have been due for `overdue`.

        The poll does so each time while that is cheap. When it is not (`task_store.low_water` says why), it reads from
        a later time on, and this finds what became visible before that.

        Raises:
            StoreError: the database did not answer.

        """
        lanes = dict.fromkeys(self._lanes, BEGINNING)
        with self._low_water.whole_scan():
            ids = await self._candidates(self._slow, lanes, slots, overdue, _SCAN_ROWS_MAX)
        return ids[:slots]

    def _next_lanes(self, count: int) -> list[Lane]:
        if count >= len(self._lanes):
            return list(self._lanes)
        lanes = list(islice(self._lanes, count))
        self._lanes.rotate(-count)
        return lanes

    async def _candidates(
        self, database: Database, readable: Mapping[Lane, datetime], slots: int, overdue: timedelta, rows: int
    ) -> list[UUID]:
        """Return ids in the order in which they are to be claimed, and note the low-water times of the lanes.

        It reads enough for `slots`, and about `rows` rows at most.
        """
        if not readable or not slots:
            return []
        began_at = time.monotonic()
        wanted = math.ceil(min(slots * _CANDIDATES_FACTOR / self._lanes_with_tasks, rows / len(readable)))
        values = {
            "queue": [lane.queue for lane in readable],
            "priority": [str(lane.priority) for lane in readable],
            "type": [lane.type for lane in readable],
            "since": list(readable.values()),
            "weight": [float(self._weights[lane.priority]) for lane in readable],
            "overdue": overdue,
            "candidates": max(_CANDIDATES_MIN, wanted),
            "resting": self._resting.ids(),
        }
        lanes = await database.fetch(claims.OVERDUE, values)
        self._resting.answered()
        paused = set(lanes[0]["paused"])
        seen: dict[Lane, datetime | None] = {
            lane: None for place, lane in enumerate(readable, start=1) if place not in paused
        }
        found = [row for row in lanes if row["ids"] is not None]
        for row in found:
            seen[Lane(row["queue"], Priority(row["priority"]), row["type"])] = row["due_at"]
        self._low_water.scanned(time.monotonic() - began_at, seen, lanes[0]["now"])
        self._lanes_with_tasks = len(found) or self._lanes_with_tasks
        by_turn = sorted(pair for row in found for pair in zip(row["turns"], row["ids"], strict=True))
        return [task_id for _, task_id in by_turn]

    async def _claim(self, statement: Statement, ids: Sequence[UUID], values: Mapping[str, Any]) -> Claimed:
        try:
            rows = await self._database.fetch(statement, values)
        except NotExecutedError:
            raise  # it says nothing about these tasks: a read-only database executes no claim, yet answers scans
        except StoreError:
            if self._resting.failed(ids):
                _log.warning("task_rests", extra={"task_id": str(ids[0]), "statement": "claim"})
            raise
        self._resting.answered(ids)
        left: list[UUID] = rows[0].get("left", []) if rows else []
        return Claimed([_claim(row) for row in rows], left)


def _claim(row: Row) -> Claim:
    values = [*islice(row.values(), _CLAIM_COLUMNS)]  # they are the fields, in their order
    values[_PRIORITY] = Priority[values[_PRIORITY]]
    return Claim._make(values)


def new_lease_token() -> UUID:
    """Return a random token for one claim statement."""
    return uuid4()
