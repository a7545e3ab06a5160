"""Whoever waits for a task reads it again when it is told: so no change of a version may be forgotten."""

from __future__ import annotations

import re

import pytest

from task_store._driver_statement import compile_statement
from task_store.statements_page import EXAMPLES, statements

CHANGES_A_VERSION = re.compile(r"INSERT INTO tasks \(|\bversion=")  # a condition has spaces around it
UNTOLD = {"dispatch.MARK", "pauses.UNDISPATCH"}
COUNTED_BY_CALLERS = {"create.CREATE", "create.CREATE_KEYED", "create.CREATE_BATCH", "record.RECORD"}
"""Whoever runs these knows more than their rows: which tasks were there before, and how long code ran."""
COUNTED_LATER = {"uncounted.TAKE"}
"""It takes what create_task() has left."""
COUNTED_AS_NOTHING = {
    "claims.BY_ID",
    "claims.SUSPECT",
    "dispatch.MARK",
    "pauses.UNDISPATCH",
    "progress.PROGRESS",
    "cancel_rerun.RESCHEDULE",
}
"""A begin is counted when its code begins; the others begin and end nothing."""
ALL = {**statements(), **{f"{name}: {what}": one for name, made in EXAMPLES.items() for what, one in made.items()}}
CHANGING = {name for name, statement in ALL.items() if CHANGES_A_VERSION.search(str(compile_statement(statement.sql)))}


def test_the_pattern_finds_what_it_is_to_find() -> None:
    some = {"create.CREATE", "claims.BY_ID", "record.RECORD", "progress.PROGRESS", "cancel_rerun.CANCEL", *UNTOLD}

    assert some <= CHANGING
    assert CHANGING.isdisjoint({"purge.PURGE", "workers.RENEW", "pages.GET", "claims.OVERDUE"})


@pytest.mark.parametrize("name", ALL)
def test_a_statement_tells_exactly_if_it_changes_versions(name: str) -> None:
    assert ALL[name].tells_changes == (name in CHANGING - UNTOLD)


@pytest.mark.parametrize("name", ALL)
def test_what_begins_or_ends_tasks_is_counted_at_one_place(name: str) -> None:
    is_counted = name in CHANGING - COUNTED_BY_CALLERS - COUNTED_AS_NOTHING or name in COUNTED_LATER
    assert ALL[name].tells_events == is_counted
