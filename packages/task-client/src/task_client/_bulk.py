"""Decides how many tasks are cancelled or run again: page by page, by the cursor. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from task_client import _calls as calls
from task_client._call import Call
from task_client._flows import ask
from task_client._repeats import RepeatPolicy
from task_client._steps import Flow
from task_contracts import BulkResult


def count(call: Call, repeats: RepeatPolicy) -> Flow[int]:
    """Make a dry run, and return how many tasks would be changed."""
    answer = yield from ask(call, BulkResult, repeats)
    return answer.changed


def change_many(
    dry_run: Call | None, change: Call, repeats: RepeatPolicy, on_progress: Callable[[int], object] | None
) -> Flow[int]:
    """Change page after page, and return how many tasks were changed.

    With a dry run it begins at its cursor, which says when it began: so that each request, the first one too, may be
    repeated and changes nothing twice. A first cancel may be repeated without one.
    """
    cursor = None if dry_run is None else (yield from ask(dry_run, BulkResult, repeats)).start_cursor
    changed = 0
    while True:
        call = change if cursor is None else calls.change_more(change, cursor)
        answer = yield from ask(call, BulkResult, repeats)
        changed += answer.changed
        if on_progress is not None:
            on_progress(changed)
        if (cursor := answer.next_cursor) is None:
            return changed
