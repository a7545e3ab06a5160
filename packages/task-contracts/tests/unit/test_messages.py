"""Messages on the broker: those of this version are read, everything else is refused."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from task_contracts import DueTasks, Signal, SignalKind, limits

AN_ID = UUID("019a0000-0000-7000-8000-000000000000")


@given(st.lists(st.uuids(), min_size=1, max_size=limits.MESSAGE_IDS_MAX))
def test_due_tasks_survive_the_way_over_the_broker(ids: list[UUID]) -> None:
    message = DueTasks(ids=tuple(ids))

    assert DueTasks.model_validate_json(message.model_dump_json()) == message


def test_the_wire_format_is_small_and_versioned() -> None:
    assert DueTasks(ids=(AN_ID,)).model_dump_json() == f'{{"v":1,"ids":["{AN_ID}"]}}'


@pytest.mark.parametrize("version", ["0", "2", '"1"', "null", "[]", "1.5"])
@pytest.mark.parametrize("kind", [DueTasks, Signal])
def test_a_foreign_version_is_refused(kind: type[DueTasks] | type[Signal], version: str) -> None:
    body = f'{{"v": {version}, "ids": ["{AN_ID}"], "kind": "due"}}'

    with pytest.raises(ValidationError) as refused:
        kind.model_validate_json(body)

    assert [error["loc"] for error in refused.value.errors()] == [("v",)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"v": 1}',
        b'{"v": 1, "ids": []}',
        b'{"v": 1, "ids": "019a0000-0000-7000-8000-000000000000"}',
        b'{"v": 1, "ids": ["x"]}',
        b'{"v": 1, "ids": [1]}',
        b'{"v": 1, "ids": [null]}',
        b"[" * 10_000,
    ],
)
def test_garbage_is_refused_as_due_tasks(body: bytes) -> None:
    with pytest.raises(ValidationError):
        DueTasks.model_validate_json(body)


def test_a_message_names_no_more_tasks_than_its_limit() -> None:
    assert DueTasks(ids=(AN_ID,) * limits.MESSAGE_IDS_MAX)
    with pytest.raises(ValidationError):
        DueTasks(ids=(AN_ID,) * (limits.MESSAGE_IDS_MAX + 1))


def test_a_field_that_a_later_release_adds_is_ignored() -> None:
    assert DueTasks.model_validate_json(f'{{"v": 1, "ids": ["{AN_ID}"], "more": 1}}').ids == (AN_ID,)


@pytest.mark.parametrize("kind", SignalKind)
def test_a_signal_survives_the_way_over_the_broker(kind: SignalKind) -> None:
    signal = Signal(kind=kind, queue="reports", ids=(AN_ID,))

    assert Signal.model_validate_json(signal.model_dump_json()) == signal
    assert Signal.model_validate_json(f'{{"v": 1, "kind": "{kind}"}}') == Signal(kind=kind)


@pytest.mark.parametrize(
    "body", ['{"v": 1, "kind": "other"}', '{"v": 1}', '{"v": 1, "kind": "due", "queue": "Not a queue"}']
)
def test_a_signal_of_an_unknown_kind_or_a_wrong_queue_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        Signal.model_validate_json(body)
