"""Whoever waits for a task reads it again when it is told: so no change of a version may be forgotten."""

from __future__ import annotations

import re

import pytest

from task_store.statements_page import EXAMPLES, compiled, statements

CHANGES_A_VERSION = re.compile(r"INSERT INTO tasks \(|\bversion=")  # a condition has spaces around it
UNTOLD = {"dispatch.MARK"}
ALL = {**statements(), **{f"{name}: {what}": one for name, made in EXAMPLES.items() for what, one in made.items()}}
CHANGING = {name for name, statement in ALL.items() if CHANGES_A_VERSION.search(str(compiled(statement)))}


def test_the_pattern_finds_what_it_is_to_find() -> None:
    some = {"create.CREATE", "claims.BY_ID", "record.RECORD", "progress.PROGRESS", "cancel_rerun.CANCEL", *UNTOLD}

    assert some <= CHANGING
    assert CHANGING.isdisjoint({"purge.PURGE", "workers.RENEW", "pages.GET", "claims.OVERDUE"})


@pytest.mark.parametrize("name", ALL)
def test_a_statement_tells_exactly_if_it_changes_versions(name: str) -> None:
    assert ALL[name].tells_changes == (name in CHANGING - UNTOLD)
