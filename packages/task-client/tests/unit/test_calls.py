"""The request that each method makes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from task_client import _calls as calls
from task_client._calls import Call
from task_client._flows import Send
from task_client._http import request_options
from task_contracts import Priority, SortOrder, TaskCreate, TaskStatus, View

AN_ID = UUID("019a0000-0000-7000-8000-000000000001")


def test_create_sends_what_was_set_and_leaves_the_rest_to_the_service() -> None:
    call = calls.create(TaskCreate(name="report", priority=Priority.HIGH, payload={"month": "2026-10"}))

    assert (call.method, call.path) == ("POST", "/api/v1/tasks")
    assert json.loads(call.content or b"") == {"name": "report", "priority": "HIGH", "payload": {"month": "2026-10"}}


def test_create_sends_times_that_the_service_reads() -> None:
    task = TaskCreate(name="report", run_at=datetime(2026, 1, 1, 12, tzinfo=UTC))

    content = calls.create(task).content

    assert json.loads(content or b"")["run_at"] == "2026-01-01T12:00:00Z"
    assert TaskCreate.model_validate_json(content or b"") == task


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (calls.get(AN_ID), "GET", f"/api/v1/tasks/{AN_ID}"),
        (calls.get(str(AN_ID).upper()), "GET", f"/api/v1/tasks/{AN_ID}"),
        (calls.status(AN_ID), "GET", f"/api/v1/tasks/{AN_ID}/status"),
        (calls.cancel(AN_ID), "DELETE", f"/api/v1/tasks/{AN_ID}"),
        (calls.live(), "GET", "/health/live"),
        (calls.ready(), "GET", "/health/ready"),
    ],
)
def test_a_verb_has_its_method_and_path(call: Call, method: str, path: str) -> None:
    assert (call.method, call.path, call.params, call.content) == (method, path, (), None)


@pytest.mark.parametrize("text", ["", "x", "../../health/live", "019a0000-0000-7000-8000-00000000000"])
def test_what_is_no_id_never_becomes_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        calls.get(text)


def test_only_reading_is_repeated_and_only_creating_is_not_safe_to_repeat() -> None:
    page = calls.page({}, View.SUMMARY)

    assert all(call.is_repeated for call in (calls.get(AN_ID), calls.status(AN_ID), page))
    assert not calls.create(TaskCreate(name="a")).is_repeated
    assert not calls.create(TaskCreate(name="a")).is_repeat_safe
    assert not calls.cancel(AN_ID).is_repeated
    assert calls.cancel(AN_ID).is_repeat_safe
    assert not calls.live().is_repeated
    assert not calls.ready().is_repeated


def test_a_list_without_filters_sends_none() -> None:
    assert calls.page({}, View.SUMMARY).params == ()


def test_a_list_sends_every_filter_under_its_name_in_the_api() -> None:
    call = calls.page(
        {
            "status": [TaskStatus.NEW, TaskStatus.PENDING],
            "priority": Priority.HIGH,
            "labels": {"customer": "42", "url": "http://x:1"},
            "type": "report.build",
            "queue": "reports",
            "name": "month ly & co",
            "created_from": datetime(2026, 11, 1, tzinfo=UTC),
            "created_to": datetime(2026, 11, 2, tzinfo=UTC),
            "order": SortOrder.OLDEST,
            "limit": 7,
        },
        View.FULL,
        cursor="abc",
        include_total=True,
    )

    assert call.params == (
        ("status", "NEW"),
        ("status", "PENDING"),
        ("priority", "HIGH"),
        ("label", "customer:42"),
        ("label", "url:http://x:1"),
        ("type", "report.build"),
        ("queue", "reports"),
        ("name", "month ly & co"),
        ("created_from", "2026-11-01T00:00:00+00:00"),
        ("created_to", "2026-11-02T00:00:00+00:00"),
        ("order", "oldest"),
        ("limit", "7"),
        ("view", "full"),
        ("include_total", "true"),
        ("cursor", "abc"),
    )


def test_the_next_page_keeps_the_filters_even_of_a_generator() -> None:
    first = calls.page({"status": (status for status in TaskStatus)}, View.SUMMARY)
    third = calls.after(calls.after(first, "a"), "b")

    assert third.params == (*first.params, ("cursor", "b"))
    assert len(first.params) == len(TaskStatus)


def test_a_call_is_given_the_shorter_of_two_times() -> None:
    call = calls.get(AN_ID)

    assert request_options(Send(call), 10)["timeout"] == 10
    assert request_options(Send(call, timeout_seconds=2), 10)["timeout"] == 2
    assert request_options(Send(call, timeout_seconds=20), 10)["timeout"] == 10
