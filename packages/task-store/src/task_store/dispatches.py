"""What the leader does to tasks before it publishes them: marks those that are due."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from task_contracts import Priority
from task_store._row import Row
from task_store._statements import dispatch
from task_store.batch_limit import BatchLimit
from task_store.database import Database
from task_store.errors import StoreError
from task_store.low_water import BEGINNING, LowWater
from task_store.records import DispatchQuota, Lane, LiveOffers, MarkedTask

_MARK_IDS_MAX = 1_000
"""Ids that one statement marks in one broker queue."""
_UPDATE_SECONDS = 0.0002
"""What marking one row may take beside the scan."""

Marked = dict[tuple[str, Priority], list[MarkedTask]]


class Dispatches:
    """The tasks that the leader dispatches.

    Args:
        database: where the statements run.
        slow: for whole scans of the table, which may take long.

    """

    def __init__(self, database: Database, slow: Database) -> None:
        self._database = database
        self._slow = slow
        self._low_water = LowWater()
        self._limit = BatchLimit(_MARK_IDS_MAX)
        self._is_pause_over = False

    def reset(self) -> None:
        """Forget where scans may begin: another leader has scanned since."""
        self._low_water.reset()

    async def mark(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> Marked:
        """Mark due tasks of offered types as PENDING and return them by (queue, priority).

        At most as many of each broker queue as its quota says, fewer after a mark that got no answer, in the order in
        which they became due. The mark is committed when this returns: only then may a message name them. After a
        DatabaseUnavailableError some tasks may be marked whose ids nobody got; the poll finds them.
        """
        try:
            return await self._mark(self._database, quotas, self._low_water.readable(_lanes(quotas, offers)))
        except StoreError:
            self._low_water.unanswered()
            raise

    @property
    def is_pause_over(self) -> bool:
        """Whether the last `mark` or `next_due` saw a pause that is over and not settled (`Pauses.settle`)."""
        return self._is_pause_over

    def forget(self, lanes: Iterable[Lane]) -> None:
        """Forget where the scans of these lanes may begin: pauses of theirs were settled, and marks taken back."""
        self._is_pause_over = False
        self._low_water.forget(lanes)

    def is_whole_due(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> bool:
        """Return whether to call `mark_whole` now; never while `mark` reads its lanes from the beginning anyway."""
        return self._low_water.is_whole_due(_lanes(quotas, offers))

    async def mark_whole(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> Marked:
        """Mark as `mark` does, reading all lanes from the beginning.

        `mark` does so each time while that is cheap. When it is not (`task_store.low_water` says why), it reads from a
        later time on, and this finds what became visible before that.
        """
        with self._low_water.whole_scan():
            return await self._mark(self._slow, quotas, dict.fromkeys(_lanes(quotas, offers), BEGINNING))

    async def next_due(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> timedelta | None:
        """Return how long until the next task can be marked; zero or less if one can be now, None if none waits."""
        readable = self._low_water.readable(_lanes(quotas, offers))
        (row,) = await self._database.fetch(dispatch.NEXT_DUE, _values(quotas, readable))
        self._is_pause_over = row["is_pause_over"]
        until: timedelta | None = row["until"]
        return until

    async def _mark(
        self, database: Database, quotas: Sequence[DispatchQuota], readable: Mapping[Lane, datetime]
    ) -> Marked:
        if not readable:
            return {}
        quotas = [DispatchQuota(one.queue, one.priority, min(one.ids, self._limit.items)) for one in quotas]
        most = max(quota.ids for quota in quotas)
        began_at = time.monotonic()
        try:
            rows = await database.fetch(dispatch.MARK, _values(quotas, readable))
        except StoreError:
            self._limit.unanswered(most)
            raise
        self._limit.answered(most)
        due = sorted((row for row in rows if row["id"] is not None), key=itemgetter("due_at", "id"))
        seconds = time.monotonic() - began_at - _UPDATE_SECONDS * len(due)
        self._low_water.scanned(seconds, _seen(quotas, readable, due, set(rows[0]["paused"])), rows[0]["now"])
        self._is_pause_over = rows[0]["is_pause_over"]
        marked: Marked = defaultdict(list)
        for row in due:
            if row["is_marked"]:
                marked[row["queue"], Priority[row["priority"]]].append(MarkedTask(row["id"], row["payload_bytes"]))
        return dict(marked)


def _lanes(quotas: Sequence[DispatchQuota], offers: LiveOffers) -> list[Lane]:
    return [
        Lane(quota.queue, quota.priority, type_)
        for quota in quotas
        if quota.ids
        for type_ in offers.types_by_queue.get(quota.queue, ())
    ]


def _values(quotas: Sequence[DispatchQuota], readable: Mapping[Lane, datetime]) -> dict[str, list[Any]]:
    return {
        "queue": [quota.queue for quota in quotas],
        "priority": [str(quota.priority) for quota in quotas],
        "ids": [quota.ids for quota in quotas],
        "lane_queue": [lane.queue for lane in readable],
        "lane_priority": [str(lane.priority) for lane in readable],
        "lane_type": [lane.type for lane in readable],
        "lane_since": list(readable.values()),
    }


def _seen(
    quotas: Iterable[DispatchQuota], readable: Iterable[Lane], due: Sequence[Row], paused: Collection[int]
) -> dict[Lane, datetime | None]:
    """Return from when on each lane may hold undispatched tasks; None where all that was due was marked.

    A lane of which nothing was read is left out, if its broker queue got its whole quota from others, or if it is
    paused: `paused` are the places of such lanes, from 1 on.
    """
    names_of = itemgetter("queue", "priority", "type")  # these tuples equal lanes; making lanes would take longer
    last = {names_of(row): row["due_at"] for row in due}
    first_skipped: dict[tuple[str, ...], datetime] = {}
    for row in due:
        if not row["is_marked"]:
            first_skipped.setdefault(names_of(row), row["due_at"])
    found = Counter(map(itemgetter("queue", "priority"), due))
    exhausted = {(one.queue, one.priority) for one in quotas if found[one.queue, one.priority] < one.ids}
    seen: dict[Lane, datetime | None] = {}
    for place, lane in enumerate(readable, start=1):
        if place in paused:
            continue
        if (lane.queue, lane.priority) in exhausted:
            seen[lane] = first_skipped.get(lane)
        elif lane in last:
            seen[lane] = first_skipped.get(lane, last[lane])
    return seen
