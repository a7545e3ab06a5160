"""What every statement of this package says of itself: its SQL, its purpose, and how it finds its rows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Executable


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, as `Database.fetch` runs it and as `docs/statements.md` shows it.

    Args:
        sql: what is run.
        purpose: what it does and returns, and what its parameters must fulfil beyond their types.
        indexes: the indexes and primary keys by which it finds its rows; `test_plans.py` holds those of `tasks` to it.
        scans: the tables that it reads as a whole.
        tells_changes: whether `Database` tells the ids that it returns, in `id` or many in `ids`: they are tasks whose
            version it changed. Where it returns others too, those have an `event` of NULL.
        tells_events: whether `Database` tells the events of the rows that it returns, to be counted: each row has the
            `queue`, `priority` and `type` of tasks, the `event` that happened to them, or NULL, and in `tasks` how
            many they are if not one.

    """

    sql: Executable
    purpose: str = ""
    indexes: tuple[str, ...] = ()
    scans: tuple[str, ...] = ()
    tells_changes: bool = False
    tells_events: bool = False
    is_built: bool = False
