"""Answers of the API, as a client reads them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from task_contracts import Progress, Task, TaskError, TaskPage, TaskState, TaskStatus, TaskSummary
from task_contracts.testing import a_create, a_task, an_id


def test_a_task_survives_the_way_through_json() -> None:
    task = a_task(
        status=TaskStatus.FAILED,
        labels={"customer": "42"},
        payload={"rows": [1, 2.5]},
        error=TaskError(code="handler_error", message="division by zero", type="ZeroDivisionError"),
        progress=Progress(percent=40, message="page 4"),
        worker_id=an_id(),
    )

    assert Task.model_validate_json(task.model_dump_json()) == task


def test_an_answer_of_a_newer_server_is_read_without_what_is_unknown() -> None:
    newer = a_task().model_dump(mode="json") | {"colour": "blue", "error": {"code": "c", "message": "m", "note": "h"}}

    assert Task.model_validate(newer).error == TaskError(code="c", message="m")


@pytest.mark.parametrize("result", [None, 0, "", [], {}, {"a": [1, None]}, 1.5, False])
def test_a_result_may_be_any_json(result: object) -> None:
    task = a_task(status=TaskStatus.COMPLETED, result=result)

    assert Task.model_validate_json(task.model_dump_json()).result == result


def test_a_task_can_be_read_as_its_summary_and_as_its_state() -> None:
    answer = a_task(payload={"a": 1}, result=2).model_dump_json()

    assert not {"payload", "result"} & TaskSummary.model_validate_json(answer).model_dump().keys()
    assert TaskState.model_validate_json(answer).status is TaskStatus.NEW


def test_an_answer_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        a_task().status = TaskStatus.COMPLETED


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_progress_lies_between_0_and_100(percent: float) -> None:
    assert Progress(percent=0).percent == 0
    assert Progress(percent=100).percent == 100
    with pytest.raises(ValidationError):
        Progress(percent=percent)


def test_a_page_may_be_empty_and_the_last_one_has_no_cursor() -> None:
    page = TaskPage[TaskSummary].model_validate_json('{"items": []}')

    assert (page.items, page.next_cursor, page.total, page.total_is_capped) == ([], None, None, None)


def test_factories_give_what_is_valid_and_take_any_field() -> None:
    assert a_create(name="b", queue="reports").queue == "reports"
    assert a_task(attempt=3).attempt == 3
    assert a_task().id != a_task().id
