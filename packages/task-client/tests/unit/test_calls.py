"""The request that each method makes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest

from task_client import _calls as calls
from task_client._bodies import encoded
from task_client._call import Call
from task_client._http import request_options
from task_client._steps import Send
from task_contracts import Priority, SortOrder, TaskCreate, TaskStatus, View

AN_ID = UUID("019a0000-0000-7000-8000-000000000001")


def test_create_sends_what_was_set_and_leaves_the_rest_to_the_service() -> None:
    content = encoded(TaskCreate(name="report", priority=Priority.HIGH, payload={"month": "2026-10"}))
    call = calls.create(content, "a-key", is_key_known=True)

    assert (call.method, call.path, call.headers) == ("POST", "/api/v1/tasks", {"Idempotency-Key": "a-key"})
    assert json.loads(call.content or b"") == {"name": "report", "priority": "HIGH", "payload": {"month": "2026-10"}}


def test_create_sends_times_that_the_service_reads() -> None:
    task = TaskCreate(name="report", run_at=datetime(2026, 1, 1, 12, tzinfo=UTC))

    content = encoded(task)

    assert json.loads(content)["run_at"] == "2026-01-01T12:00:00Z"
    assert TaskCreate.model_validate_json(content) == task


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (calls.get(AN_ID), "GET", f"/api/v1/tasks/{AN_ID}"),
        (calls.get(str(AN_ID).upper()), "GET", f"/api/v1/tasks/{AN_ID}"),
        (calls.status(AN_ID), "GET", f"/api/v1/tasks/{AN_ID}/status"),
        (calls.cancel(AN_ID), "DELETE", f"/api/v1/tasks/{AN_ID}"),
        (calls.attempts(AN_ID), "GET", f"/api/v1/tasks/{AN_ID}/attempts"),
        (calls.explain(AN_ID), "GET", f"/api/v1/tasks/{AN_ID}/explain"),
        (calls.demand("a", None), "GET", "/api/v1/queues/a/demand"),
        (calls.demand("../x?", None), "GET", "/api/v1/queues/..%2Fx%3F/demand"),
        (calls.look("stats"), "GET", "/api/v1/stats"),
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


def test_what_cannot_be_done_twice_is_repeated() -> None:
    created = calls.create(b"{}", "a-key", is_key_known=False)
    page = calls.page({}, View.SUMMARY)

    assert all(call.is_repeated for call in (calls.get(AN_ID), calls.status(AN_ID), page, calls.cancel(AN_ID), created))
    assert calls.update(AN_ID, Priority.LOW, None, None).is_repeated
    assert not calls.update(AN_ID, Priority.LOW, None, 3).is_repeated
    assert not any(call.is_repeated for call in (calls.rerun(AN_ID), calls.live(), calls.ready()))


def test_a_caller_may_repeat_a_create_whose_key_it_gave() -> None:
    assert not calls.create(b"{}", "made", is_key_known=False).is_repeat_safe
    assert calls.create(b"{}", "given", is_key_known=True).is_repeat_safe
    assert not calls.rerun(AN_ID).is_repeat_safe
    assert calls.cancel(AN_ID).is_repeat_safe


def test_a_rerun_of_many_may_be_repeated_once_it_has_a_cursor() -> None:
    first = calls.change_many("rerun", {"queue": "a"}, is_all=False, is_dry_run=False)
    further = calls.change_more(first, "c")

    assert not first.is_repeated
    assert further.is_repeated
    assert json.loads(further.content or b"") == {"filter": {"queue": "a"}, "dry_run": False, "cursor": "c"}


def test_filters_in_a_body_are_lists_where_a_query_may_repeat_them() -> None:
    filters = {
        "status": TaskStatus.FAILED,
        "labels": {"a": "1"},
        "queue": "q",
        "created_to": datetime(2026, 1, 1, tzinfo=UTC),
    }
    call = calls.change_many("cancel", filters, is_all=False, is_dry_run=True)

    assert json.loads(call.content or b"") == {
        "filter": {"status": ["FAILED"], "label": ["a:1"], "queue": "q", "created_to": "2026-01-01T00:00:00+00:00"},
        "dry_run": True,
    }
    every = calls.change_many("cancel", {}, is_all=True, is_dry_run=False)
    assert json.loads(every.content or b"") == {"all": True, "dry_run": False}


@pytest.mark.parametrize("filters", [{"status": []}, {"id": iter(())}, {"priority": None}, {"queue": None}])
def test_a_filter_that_would_not_filter_is_a_mistake(filters: Any) -> None:
    with pytest.raises(ValueError, match="leave it out"):
        calls.page(filters, View.SUMMARY)
    with pytest.raises(ValueError, match="leave it out"):
        calls.change_many("cancel", {**filters, "type": "a"}, is_all=False, is_dry_run=False)


def test_labels_that_are_empty_filter_a_list_by_nothing_and_are_left_to_the_service_where_tasks_change() -> None:
    changed = calls.change_many("cancel", {"type": "a", "labels": {}}, is_all=False, is_dry_run=False)

    assert calls.page({"labels": {}}, View.SUMMARY).params == ()
    assert json.loads(changed.content or b"")["filter"] == {"type": "a", "label": []}


def test_a_change_sends_only_what_changes() -> None:
    call = calls.update(AN_ID, None, "now", 7)

    assert (call.method, call.headers) == ("PATCH", {"If-Match": 'W/"7"'})
    assert json.loads(call.content or b"") == {"run_at": None}


def test_many_ids_of_a_stream_go_into_a_body() -> None:
    few = calls.events({"id": [AN_ID] * 100}, "5")
    many = calls.events({"id": [AN_ID] * 101})

    assert (few.method, len(few.params), few.headers["Last-Event-ID"]) == ("GET", 100, "5")
    assert (many.method, many.params) == ("POST", ())
    assert json.loads(many.content or b"") == {"id": [str(AN_ID)] * 101}


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
            "finished_from": datetime(2026, 11, 3, tzinfo=UTC),
            "finished_to": datetime(2026, 11, 4, tzinfo=UTC),
            "fingerprint": "4f0c2b9a1d3e5f60",
            "worker": AN_ID,
            "id_prefix": "019ab5e2",
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
        ("finished_from", "2026-11-03T00:00:00+00:00"),
        ("finished_to", "2026-11-04T00:00:00+00:00"),
        ("fingerprint", "4f0c2b9a1d3e5f60"),
        ("worker", str(AN_ID)),
        ("id_prefix", "019ab5e2"),
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

    assert request_options(Send(call), 10)["timeout"] == httpx2.Timeout(10)
    assert request_options(Send(call, timeout_seconds=2), 10)["timeout"] == httpx2.Timeout(2)
    assert request_options(Send(call, timeout_seconds=20), 10)["timeout"] == httpx2.Timeout(10)


def test_an_answer_that_may_be_held_back_is_given_that_time_too() -> None:
    call = calls.status(AN_ID, held_seconds=30)

    assert call.headers == {"Prefer": "wait=30"}
    assert request_options(Send(call), 10)["timeout"] == httpx2.Timeout(10, read=40)
