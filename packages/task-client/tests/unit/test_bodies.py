"""Batches: as few as the service's limits allow, taken as they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from task_client import TaskCreate, ValidationFailedError
from task_client._bodies import BATCH_BYTES, as_create, batches
from task_contracts import check_json, limits


def sizes(tasks: Any) -> list[int]:
    return [len(json.loads(batch.content)["tasks"]) for batch in batches(tasks)]


def nodes_of(value: Any) -> int:
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(nodes_of, nested))


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [1]), (1_000, [1_000]), (2_001, [1_000, 1_000, 1])])
def test_a_batch_has_a_thousand_tasks_at_most(count: int, expected: list[int]) -> None:
    assert sizes({"name": "a"} for _ in range(count)) == expected


def test_a_batch_stays_below_the_bytes_that_the_service_takes() -> None:
    tasks = [{"name": "a", "payload": {"text": "ü" * 250_000}} for _ in range(20)]
    found = list(batches(tasks))

    assert sum(len(batch.bodies) for batch in found) == 20
    assert all(len(batch.content) == batch.size - 1 <= BATCH_BYTES for batch in found)
    assert len(found[0].bodies) == 8


def test_a_batch_stays_below_the_values_that_the_service_takes() -> None:
    tasks = [{"name": "a", "labels": {"a": "b"}, "payload": {"list": list(range(9_900))}} for _ in range(25)]
    found = list(batches(tasks))

    assert [len(batch.bodies) for batch in found] == [10, 10, 5]
    assert [batch.nodes for batch in found] == [nodes_of(json.loads(batch.content)) for batch in found]
    assert all(batch.nodes <= limits.BATCH_JSON_NODES for batch in found)


def test_a_task_that_is_too_large_goes_alone_to_be_refused() -> None:
    large = TaskCreate(name="a", payload={str(n): "x" * 400_000 for n in range(11)})

    assert sizes([{"name": "b"}, large, {"name": "c"}]) == [1, 1, 1]


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[dict[str, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield {"name": "a"}

    next(batches(endless()))

    assert taken == limits.BATCH_TASKS_MAX + 1


def test_a_wrong_task_is_named_by_its_index_in_all_of_them() -> None:
    found = batches({"name": "a" if n != 1_500 else ""} for n in range(2_000))
    assert len(next(found).bodies) == limits.BATCH_TASKS_MAX

    with pytest.raises(ValidationFailedError) as raised:
        next(found)
    assert [error.field for error in raised.value.errors] == ["tasks.1500.name"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "a", "payload": {"x": float("inf")}},
        {"name": "a", "payload": {"x": "\x00"}},
        {"name": "a", "payload": {"x": "\ud800"}},
        {"name": "a", "payload": {"x": 1 << 63}},
        {"name": "a", "payload": {"x": object()}},
        {"name": "a", "payload": []},
        {"name": 5},
        {"name": "a", "run_at": "tomorrow"},
        {"name": "a", "run_at": 5},
        {"name": "a", "priority": "URGENT"},
        {"name": "a", "max_attempts": 0},
        {"name": "a", "unknown": 1},
    ],
)
def test_what_the_service_would_refuse_is_not_sent(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailedError) as raised:
        as_create(fields)

    assert raised.value.errors
    assert "0x" not in str(raised.value)


def test_texts_of_times_and_priorities_are_read_as_jsons_are() -> None:
    created = as_create(
        {"name": "a", "run_at": "2026-11-30T12:00:00+01:00", "priority": "LOW", "payload": {"a": [1, 2]}}
    )

    assert check_json(json.loads(created.model_dump_json()))
    assert created.priority == "LOW"
    assert created.run_at is not None
    assert created.run_at.hour == 11
