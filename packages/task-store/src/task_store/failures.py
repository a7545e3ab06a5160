"""What failed lately, by kind: counted by the workers, shown by the API, forgotten after two weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from task_contracts import ErrorGroup, FailureKind, limits
from task_store._statements import failures
from task_store.database import Database


@dataclass(frozen=True, slots=True)
class CountedFailure:
    """Failures of one kind, and what is kept of the latest: its message and its task.

    `first_seconds` and `last_seconds` say how long ago the first and the latest were.
    """

    kind: FailureKind
    count: int
    message: str
    example_id: UUID
    first_seconds: float
    last_seconds: float


class Failures:
    """The counts of failures. Every statement commits by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, counted: Sequence[CountedFailure]) -> None:
        """Add failures to the counts of this hour, each kind once.

        Not safe to repeat: it would count them twice. An hour that has `limits.FINGERPRINTS_AN_HOUR` kinds takes no
        more; n processes that count at the same moment may make it n times as many.

        Args:
            counted: at most some thousand kinds; a message is at most `limits.FAILURE_MESSAGE_CHARS` long.

        """
        kinds = [one.kind for one in counted]
        values = {
            "fingerprint": [kind.fingerprint for kind in kinds],
            "type": [kind.type for kind in kinds],
            "exception": [kind.exception for kind in kinds],
            "frame": [kind.frame for kind in kinds],
            "message": [one.message for one in counted],
            "count": [one.count for one in counted],
            "first_seconds": [one.first_seconds for one in counted],
            "last_seconds": [one.last_seconds for one in counted],
            "example_id": [one.example_id for one in counted],
        }
        await self._database.fetch(failures.COUNT, values)

    async def last_day(self) -> list[ErrorGroup]:
        """Return the kinds of failures of the last day, most first, at most `limits.ERROR_GROUPS_MAX`.

        Whole hours are counted: the day begins with the hour in which it was 24 hours ago.
        """
        rows = await self._database.fetch(failures.LAST_DAY, {"rows": limits.ERROR_GROUPS_MAX})
        return [ErrorGroup.model_construct(**row) for row in rows]

    async def forget(self, age: timedelta, *, rows: int) -> list[str]:
        """Delete up to `rows` counts of hours that began longer than `age` ago; return their fingerprints."""
        found = await self._database.fetch(failures.FORGET, {"age": age, "rows": rows})
        return [row["fingerprint"] for row in found]
