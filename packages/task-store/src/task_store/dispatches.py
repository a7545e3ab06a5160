"""What the leader does to tasks before it publishes them: marks those that are due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from task_contracts import Priority
from task_store._statements import dispatch
from task_store.database import Database
from task_store.records import DispatchQuota, LiveOffers


class Dispatches:
    """The tasks that the leader dispatches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> dict[tuple[str, Priority], list[UUID]]:
        """Mark due tasks of offered types as PENDING and return their ids by (queue, priority).

        At most as many of each broker queue as its quota says, in the order in which they became due. The mark is
        committed when this returns: only then may a message name them. After a DatabaseUnavailableError some tasks may
        be marked whose ids nobody got; the poll finds them.
        """
        marked: dict[tuple[str, Priority], list[UUID]] = defaultdict(list)
        rows = await self._database.fetch(dispatch.MARK, _values(quotas, offers))
        for row in sorted(rows, key=lambda row: (row["due_at"], row["id"])):
            marked[row["queue"], Priority(row["priority"])].append(row["id"])
        return dict(marked)

    async def next_due(self, quotas: Sequence[DispatchQuota], offers: LiveOffers) -> timedelta | None:
        """Return how long until the next task can be marked; zero or less if one can be now, None if none waits."""
        (row,) = await self._database.fetch(dispatch.NEXT_DUE, _values(quotas, offers))
        until: timedelta | None = row["until"]
        return until


def _values(quotas: Sequence[DispatchQuota], offers: LiveOffers) -> dict[str, list[Any]]:
    offered = [(queue, type_) for queue, types in offers.types_by_queue.items() for type_ in types]
    return {
        "queue": [quota.queue for quota in quotas],
        "priority": [str(quota.priority) for quota in quotas],
        "ids": [quota.ids for quota in quotas],
        "offer_queue": [queue for queue, _ in offered],
        "offer_type": [type_ for _, type_ in offered],
    }
