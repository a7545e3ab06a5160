from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from task_contracts import TaskError
from task_contracts.lifecycle import Event
from task_store import Ending, Offer, new_lease_token, new_worker_id
from task_store._statements.transitions import guards, values

ERROR = TaskError(code="failed", message="no")
AFTER = timedelta(seconds=9)


@dataclass(frozen=True)
class Key:
    id: UUID
    lease_token: UUID


KEY = Key(uuid4(), uuid4())
NAMES = (KEY.id, KEY.lease_token)


@pytest.mark.parametrize(
    ("made", "spelled_out"),
    [
        (Ending.complete(KEY, "[1]"), Ending(*NAMES, Event.COMPLETE, result="[1]")),
        (Ending.complete(KEY, None), Ending(*NAMES, Event.COMPLETE)),
        (
            Ending.retry(KEY, ERROR, after=AFTER, traceback="here"),
            Ending(*NAMES, Event.RETRY, error=ERROR, delay=AFTER, traceback="here"),
        ),
        (
            Ending.fail(KEY, ERROR, traceback="here"),
            Ending(*NAMES, Event.FAIL, error=ERROR, traceback="here"),
        ),
        (Ending.snooze(KEY, after=AFTER), Ending(*NAMES, Event.SNOOZE, delay=AFTER)),
        (Ending.release(KEY), Ending(*NAMES, Event.RELEASE, delay=timedelta())),
        (Ending.release(KEY, after=AFTER), Ending(*NAMES, Event.RELEASE, delay=AFTER)),
    ],
)
def test_each_ending_holds_what_belongs_to_it(made: Ending, spelled_out: Ending) -> None:
    assert made == spelled_out


def test_sizes_are_those_of_the_bytes_that_are_stored() -> None:
    broken = "\ud800"  # the database will refuse it, and until then it has a size

    assert Ending.complete(KEY, '"ä\U0001f600"').size_bytes == 8
    assert Ending.complete(KEY, None).size_bytes == 0
    assert Ending.fail(KEY, ERROR, traceback=broken + "x").size_bytes == 4 + len(ERROR.message)


def test_types_of_an_offer_are_sorted() -> None:
    assert Offer(("default",), {"b": None, "a": {}}).types == ["a", "b"]


def test_tokens_and_ids_are_never_the_same() -> None:
    tokens = {new_lease_token() for _ in range(1000)} | {new_worker_id() for _ in range(1000)}

    assert len(tokens) == 2000


def test_guard_that_nobody_supplies_is_an_error_at_once() -> None:
    with pytest.raises(KeyError):
        guards(Event.CLAIM)


def test_value_that_nobody_supplies_is_an_error_at_once() -> None:
    with pytest.raises(KeyError):
        values(Event.COMPLETE)
