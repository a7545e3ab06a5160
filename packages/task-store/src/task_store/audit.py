"""What operators did, as it was written with each of their acts."""

from __future__ import annotations

from uuid import UUID

from task_contracts import AuditEntry
from task_store._statements import audit
from task_store._task_rows import read_column
from task_store.database import Database

_NEWEST = UUID(int=(1 << 128) - 1)
"""Greater than the id of any act."""


class Audit:
    """The acts of operators. They are written by the statements that they are about, and read here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, *, items: int, after: UUID | None = None, actor: str | None = None, action: str | None = None
    ) -> tuple[list[AuditEntry], UUID | None]:
        """Return up to `items` acts, the newest first, and the id after which the next page begins, or None.

        Args:
            items: 1 to `limits.PAGE_ITEMS_MAX`.
            after: the id that ended the page before.
            actor: only those of this actor; '' is whoever acted without keys.
            action: only those of this kind.

        """
        values = {"rows": items + 1, "after": after or _NEWEST, "actor": actor, "action": action}
        rows = await self._database.fetch(audit.PAGE, values)
        entries = [
            AuditEntry.model_construct(**{**row, "filter": read_column("filter", row["filter"])})
            for row in rows[:items]
        ]
        return entries, entries[-1].id if len(rows) > items else None
