"""The body of POST /tasks/batch, its answer, and the key that makes a repeat safe."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from task_contracts import CreatedTasks, IdempotencyKey, TaskBatch, TaskSummary, limits
from task_contracts.testing import a_create, a_task

KEY: TypeAdapter[str] = TypeAdapter(IdempotencyKey)


@pytest.mark.parametrize("key", ["a", "!", "~", '"8e03978e-40d5"', "k" * limits.IDEMPOTENCY_KEY_CHARS])
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert KEY.validate_python(key) == key


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "\x7f", "é", "k" * (limits.IDEMPOTENCY_KEY_CHARS + 1)])
def test_a_key_of_other_characters_or_too_long_is_refused(key: str) -> None:
    with pytest.raises(ValidationError):
        KEY.validate_python(key)


def test_a_batch_survives_the_way_through_json() -> None:
    batch = TaskBatch(tasks=[a_create(name="one"), a_create(name="two", payload={"n": 2})])

    assert TaskBatch.model_validate_json(batch.model_dump_json()) == batch


@pytest.mark.parametrize("tasks", [[], [{"name": "a"}] * (limits.BATCH_TASKS_MAX + 1), [{"name": ""}], None])
def test_a_batch_of_none_of_too_many_or_with_a_wrong_one_is_refused(tasks: Any) -> None:
    with pytest.raises(ValidationError):
        TaskBatch.model_validate({"tasks": tasks})


def test_the_answer_keeps_the_order() -> None:
    items = [TaskSummary.model_validate(a_task(name=name).model_dump()) for name in ("one", "two")]

    read = CreatedTasks.model_validate_json(CreatedTasks(items=items).model_dump_json())

    assert [item.name for item in read.items] == ["one", "two"]
