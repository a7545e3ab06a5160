"""Pauses: adding and ending them, and what the leader does when one is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from task_contracts import Pause, PauseCreate, limits
from task_store._row import Row
from task_store._statements import pauses
from task_store.database import Database
from task_store.errors import PauseOverError, PauseRefusedError, PausesNotKnownError
from task_store.low_water import BEGINNING
from task_store.records import NOBODY, AuditContext, Lane

_SETTLE_ROWS = 1_000
_LISTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class OverPause:
    """A pause that is over; what it covered is None where it covered all. It began to hold at `effective_at`."""

    id: UUID
    queue: str | None
    type: str | None
    priority: str | None
    effective_at: datetime

    def covers(self, lane: Lane) -> bool:
        """Return whether it covered the tasks of a lane."""
        return (
            self.queue in (None, lane.queue)
            and self.type in (None, lane.type)
            and self.priority in (None, lane.priority)
        )


class Pauses:
    """The pauses of this database.

    Args:
        database: where the statements run; for `settle` one whose statements may take long.

    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, asked: PauseCreate, audit: AuditContext = NOBODY) -> Pause:
        """Add a pause and return it once it holds: no task that it covers begins at `effective_at` or later.

        Not safe to repeat: there may be two pauses then, which is harmless but for the second to be ended.

        Raises:
            PausesNotKnownError: live workers do not know pauses; the text names some.
            PauseRefusedError: it would be over already, or there are `limits.PAUSES_MAX`.
            StoreError: see `task_store.errors`.

        """
        pause_id = uuid7()
        values = {
            "id": pause_id,
            "queue": asked.queue,
            "type": asked.type,
            "priority": None if asked.priority is None else str(asked.priority),
            "reason": asked.reason,
            "until": asked.until,
            "most": limits.PAUSES_MAX,
            "actor": audit.actor,
            "request_id": audit.request_id,
        }
        (added,) = await self._database.fetch(pauses.ADD, values)
        if added["id"] is None:
            raise _refusal(added)
        (row,) = await self._database.fetch(pauses.EFFECTIVE, {"id": pause_id})
        return _read(row)

    async def end(self, pause_id: UUID, audit: AuditContext = NOBODY) -> Pause | None:
        """End a pause and return it; None if there is none with this id.

        Raises:
            PauseOverError: it was over already.
            StoreError: see `task_store.errors`.

        """
        values = {"id": pause_id, "actor": audit.actor, "request_id": audit.request_id}
        rows = await self._database.fetch(pauses.END, values)
        if not rows:
            return None
        if not rows[0]["is_ended_now"]:
            raise PauseOverError(f"the pause {pause_id} was over already")
        return _read(rows[0])

    async def standing(self, *, with_ended: bool = False) -> list[Pause]:
        """Return the pauses that stand, the newest first; `with_ended` also those that are over, of late."""
        rows = await self._database.fetch(pauses.LIST, {"with_ended": with_ended, "rows": _LISTED_MAX})
        return [_read(row) for row in rows]

    async def over(self) -> list[OverPause]:
        """Return the pauses that are over and not settled."""
        return [OverPause(**row) for row in await self._database.fetch(pauses.OVER)]

    async def take_back_marks(self, pause: OverPause, lanes: Iterable[Lane]) -> int:
        """Take back the marks of waiting tasks that it covered, and return of how many.

        In statements of a thousand, each a transaction of its own. Safe to repeat.
        """
        covered = [lane for lane in lanes if pause.covers(lane)]
        values = {
            "queue": [lane.queue for lane in covered],
            "priority": [str(lane.priority) for lane in covered],
            "type": [lane.type for lane in covered],
            "since": [BEGINNING] * len(covered),
            "until": pause.effective_at,
            "rows": _SETTLE_ROWS,
        }
        taken = 0
        while covered:
            rows = len(await self._database.fetch(pauses.UNDISPATCH, values))
            taken += rows
            if rows < _SETTLE_ROWS:
                break
        return taken

    async def settle(self, ids: Iterable[UUID]) -> None:
        """Note that the marks of these were taken back: what they covered is marked again from now on."""
        await self._database.fetch(pauses.SETTLE, {"id": list(ids)})

    async def forget(self, age: timedelta, *, rows: int) -> Sequence[object]:
        """Delete at most `rows` pauses that were settled `age` ago, and return them; the audit names them for good."""
        return await self._database.fetch(pauses.FORGET, {"age": age, "rows": rows})


def _refusal(added: Row) -> PauseRefusedError:
    if added["unknowing"]:
        names = ", ".join(added["unknowing"])
        return PausesNotKnownError(
            f"workers of a version that does not know pauses are alive: {names}. Update them first"
        )
    if not added["is_to_come"]:
        return PauseRefusedError("must be a time to come, by the database's clock", is_of_time=True)
    return PauseRefusedError(f"there are {limits.PAUSES_MAX} pauses, as many as may be: end one first")


def _read(row: Row) -> Pause:
    return Pause.model_validate({name: row[name] for name in Pause.model_fields})
