"""What must hold in every state, and which parts of a state make no difference."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from task_contracts import TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, Presence

from .rows import GONE, NOBODY, Due, Row
from .system import ALIVE, RUNNING, State


def broken_promise(s: State) -> str:
    """Return the first promise that this state breaks, or an empty text."""
    return s.broken or next(_broken(s), "")


def _broken(s: State) -> Iterator[str]:
    for i, row in enumerate(s.rows):
        for column, is_set in (("cancel_requested_at", row.is_cancel_requested), ("dispatched_at", row.is_dispatched)):
            if is_set and row.status != GONE and COLUMN_RULES[column][TaskStatus(row.status)] is Presence.NEVER:
                yield f"{'P4' if column == 'cancel_requested_at' else 'columns'}: {row.status} with {column} set"
        if sum(worker.lease == ALIVE and worker.in_flight[i].doing == RUNNING for worker in s.workers) > 1:
            yield "P2: two valid leases on one task"
    suspects = [row.owner for row in s.rows if row.is_running_suspect and row.owner >= 0]
    if len(suspects) > len(set(suspects)):
        yield "suspects: a worker owns two"


def forget(s: State) -> State:
    """Return the state with what nothing reads any more set to its default: fewer states to search."""
    return s._replace(rows=tuple(_forget(row) for row in s.rows))


@cache
def _forget(row: Row) -> Row:
    if row.is_finished:
        return row._replace(due=Due.DUE, failures=0, lost_count=0)
    return row._replace(due=Due.DUE) if row.is_running else row._replace(owner=NOBODY)
