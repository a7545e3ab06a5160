"""Examples for /openapi.json: one task in the states that the calls return, and each error."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from task_api.deadlines import DEADLINES
from task_api.problems import (
    body_too_large,
    body_too_slow,
    idempotency_mismatch,
    invalid,
    key_expired,
    key_not_found,
    pause_is_over,
    pause_not_found,
    pauses_not_known,
    task_finished,
    task_not_found,
    ungranted,
    unknown_queue,
    version_mismatch,
    wrong_status,
)
from task_contracts import FieldProblem, Scope, TaskState, TaskStatus, TaskSummary, limits
from task_contracts.lifecycle import CANCELLATION, Event, refusal
from task_store import SCHEMA_REVISION

_FINISHED = "2026-11-01T12:00:00.009Z"

NEW: dict[str, Any] = {
    "id": "019ab5e2-5a4e-7c3d-8f21-6d0c5b7a9e10",
    "status": "NEW",
    "progress": None,
    "attempt": 0,
    "version": 1,
    "cancel_requested_at": None,
    "created_at": "2026-11-01T12:00:00Z",
    "started_at": None,
    "finished_at": None,
    "name": "say hello",
    "description": None,
    "type": "echo",
    "queue": "default",
    "labels": {"customer": "42"},
    "priority": "MEDIUM",
    "run_at": None,
    "due_at": "2026-11-01T12:00:00Z",
    "timeout_seconds": None,
    "max_attempts": None,
    "failures": 0,
    "lost_count": 0,
    "rerun_count": 0,
    "worker_id": None,
    "error": None,
    "payload": {"text": "hello"},
    "result": None,
}
RUNNING = NEW | {
    "status": "IN_PROGRESS",
    "progress": {"percent": 40, "message": None},
    "attempt": 1,
    "version": 4,
    "started_at": "2026-11-01T12:00:00.006Z",
    "worker_id": "019ab5e1-0c1b-7d54-9a3e-2f4b8c6d7e01",
}
STOPPING = RUNNING | {"version": 5, "cancel_requested_at": "2026-11-01T12:00:00.008Z"}
COMPLETED = RUNNING | {"status": "COMPLETED", "version": 5, "finished_at": _FINISHED, "result": {"text": "hello"}}
CANCELLED = NEW | {"status": "CANCELLED", "version": 2, "finished_at": _FINISHED}

RERUN = CANCELLED | {"status": "PENDING", "version": 3, "finished_at": None, "rerun_count": 1}
URGENT = NEW | {"version": 2, "priority": "HIGH"}

STATE = {name: RUNNING[name] for name in TaskState.model_fields}
SUMMARY = {name: COMPLETED[name] for name in TaskSummary.model_fields}
CREATED = {"items": [{name: NEW[name] for name in TaskSummary.model_fields}]}
PAGE = {"items": [SUMMARY], "next_cursor": None, "total": None, "total_is_capped": None}

ATTEMPTS: dict[str, Any] = {
    "items": [
        {
            "attempt": 1,
            "outcome": "RETRY",
            "worker_id": RUNNING["worker_id"],
            "host": "worker-1",
            "pid": 42,
            "started_at": "2026-11-01T12:00:00.006Z",
            "ended_at": _FINISHED,
            "error": {"code": "handler_error", "message": "no such file: monthly.csv", "type": "FileNotFoundError"},
            "traceback": 'Traceback (most recent call last):\n  File "reports/build.py", line 12, in render\n…',
        },
        {
            "attempt": 2,
            "outcome": None,
            "worker_id": RUNNING["worker_id"],
            "host": "worker-1",
            "pid": 42,
            "started_at": "2026-11-01T12:00:02.114Z",
            "ended_at": None,
            "error": None,
            "traceback": None,
        },
    ]
}
ERROR_GROUPS: dict[str, Any] = {
    "items": [
        {
            "fingerprint": "4f0c2b9a1d3e5f60",
            "type": "report.build",
            "exception": "FileNotFoundError",
            "frame": "reports.build in render",
            "message": "no such file: monthly.csv",
            "count": 318,
            "first_at": "2026-11-01T11:02:41.500Z",
            "last_at": _FINISHED,
            "example_id": NEW["id"],
        }
    ]
}

CANCELLED_MANY = {
    "changed": 1000,
    "changed_is_capped": False,
    "cancel_requested": 3,
    "next_cursor": "AZq14lpOfD2PIW0MW3qeEAAGQpVfKMAAKxJ3Zlgp",
    "start_cursor": None,
}
RERUN_MANY = CANCELLED_MANY | {"changed": 17, "cancel_requested": 0, "next_cursor": None}

_STATE_JSON = TaskState.model_validate(STATE).model_dump_json()
EVENT_CURSOR = "1793534400250000"
TASK_EVENTS = f"retry: 2000\n\ndata: {_STATE_JSON}\nid: {STATE['version']}\n\n"
TASKS_EVENTS = f"retry: 2000\n\nid: {EVENT_CURSOR}\n\ndata: {_STATE_JSON}\nid: {EVENT_CURSOR}\n\n"

_RATE = {
    "accepted": 120,
    "started": 118,
    "completed": 115,
    "failed": 1,
    "cancelled": 0,
    "retried": 2,
    "mean_wait_seconds": 0.012,
    "mean_run_seconds": 0.85,
}
RATES = [{"seconds": 60 * minutes, **_RATE} for minutes in (1, 5, 15)]
_NOW = {"waiting": 12, "waiting_is_capped": False, "running": 8, "oldest_wait_seconds": 1.5}
_WORKERS = {"live_workers": 2, "slots": 80}
STATS = {"at": _FINISHED, **_NOW, **_WORKERS, "rates": RATES}
QUEUE = {
    "queue": "default",
    **_NOW,
    **_WORKERS,
    "priorities": [{"priority": "HIGH", **_NOW, "oldest_due_at": _FINISHED, "at": _FINISHED}],
}
DEMAND = {
    "queue": "default",
    "demand": 20,
    "waiting": 12,
    "running": 8,
    "oldest_wait_seconds": 1.5,
    "desired_workers": 1,
}
EXPLANATION = {
    "task_id": NEW["id"],
    "status": "PENDING",
    "reason": "no_worker_offers_type",
    "sentence": "Waits: none of the 2 live workers of the queue default offers the type report.biuld; what is like it:"
    " report.build. It fails unless one has offered it within 7 days.",
    "due_at": "2026-11-01T12:00:00Z",
    "due_in_seconds": 0.0,
    "ahead": None,
    "ahead_is_capped": None,
    "similar_types": ["report.build"],
    "worker_id": None,
    "host": None,
    "pid": None,
    "since": None,
}
WORKERS = {
    "items": [
        {
            "id": RUNNING["worker_id"],
            "host": "worker-1",
            "pid": 4711,
            "version": "0.1.0",
            "queues": ["default"],
            "types": ["echo"],
            "slots": 50,
            "in_flight": 3,
            "started_at": "2026-11-01T11:00:00Z",
            "lease_expires_at": "2026-11-01T12:00:28Z",
            "lease_remaining_seconds": 27.5,
            "silent_seconds": None,
            "is_leader": True,
            "draining": False,
            "reaches_broker": True,
        }
    ]
}
TYPES = {
    "items": [
        {
            "type": "report.build",
            "queue": "default",
            "payload_schema": {
                "type": "object",
                "properties": {"month": {"type": "string"}},
                "required": ["month"],
            },
            "last_offered_at": "2026-11-01T12:00:00Z",
            "live_workers": 2,
        }
    ]
}
VERSIONS = {"version": "0.1.0", "python": "3.13.9", "schema_revision": SCHEMA_REVISION}

KEY: dict[str, Any] = {
    "id": "4hT0mB2kQx9Z",
    "name": "billing, production",
    "owner": "billing",
    "scopes": ["tasks:read", "tasks:write"],
    "created_by": "operator",
    "created_at": "2026-11-01T12:00:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}
CREATED_KEY = KEY | {"key": "ts_4hT0mB2kQx9Z_(43 characters and a checksum of 6)"}
PAUSE: dict[str, Any] = {
    "id": "019ab5e2-6b1f-7a2e-9c40-2f1d6e8b7a55",
    "queue": None,
    "type": "mail.send",
    "priority": None,
    "reason": "the mail provider is down",
    "paused_by": "operator",
    "created_at": "2026-11-01T12:00:00Z",
    "effective_at": "2026-11-01T12:00:00.004Z",
    "until": "2026-11-01T14:00:00Z",
    "ended_at": None,
}
AUDIT: dict[str, Any] = {
    "items": [
        {
            "id": "019ab5e2-5a4e-7c3d-8f21-6d0c5b7a9e11",
            "at": _FINISHED,
            "actor": "operator",
            "action": "tasks.cancel",
            "target": None,
            "filter": {"queue": "reports", "status": ["PENDING"]},
            "count": 1000,
            "request_id": "6c5f1c39",
        }
    ],
    "next_cursor": None,
}

ETAG = 'W/"5"'

UNKNOWN_TASK = task_not_found(UUID(NEW["id"]))
UNKNOWN_QUEUE = unknown_queue(["default", "reports"])
FINISHED = task_finished(refusal(TaskStatus.COMPLETED, *CANCELLATION))
NOT_RERUNNABLE = wrong_status(refusal(TaskStatus.COMPLETED, Event.RERUN))
NOT_WAITING = wrong_status(refusal(TaskStatus.IN_PROGRESS, Event.RESCHEDULE))
ANOTHER_VERSION = version_mismatch(6)
KEY_OF_ANOTHER = idempotency_mismatch()
PARTLY_PURGED = key_expired()
TOO_LARGE_BATCH = body_too_large(limits.BATCH_BODY_BYTES)
WRONG_BATCH = invalid([FieldProblem(field="body.tasks.17.name", message="Field required")])
UNKNOWN_QUEUE_IN_BATCH = unknown_queue(["default", "reports"], ["body.tasks.17.queue"])
TOO_LARGE = body_too_large(limits.BODY_BYTES)
TOO_SLOW = body_too_slow(DEADLINES.body_seconds)
WRONG_BODY = invalid([FieldProblem(field="body.priority", message="Input should be 'LOW', 'MEDIUM' or 'HIGH'")])
WRONG_UPDATE = invalid([FieldProblem(field="body", message="give a priority, a run_at, or both")])
WRONG_FILTER = invalid([FieldProblem(field="body.filter.type", message="must not be null or empty")])
WRONG_QUERY = invalid([FieldProblem(field="query.limit", message="Input should be less than or equal to 200")])
UNWANTED_QUERY = invalid([FieldProblem(field="query.limit", message="is not a parameter of this call")])
WRONG_EVENT_QUERY = invalid([FieldProblem(field="query.queue", message="String should match pattern")])
WRONG_EVENT_BODY = invalid([FieldProblem(field="body.queue", message="String should match pattern")])
UNKNOWN_PAUSE = pause_not_found(UUID(PAUSE["id"]))
OVER_PAUSE = pause_is_over(f"the pause {PAUSE['id']} was over already")
UNKNOWING_WORKERS = pauses_not_known(
    "workers of a version that does not know pauses are alive: worker-1:4711 0.1.0. Update them first"
)
WRONG_PAUSE = invalid([FieldProblem(field="body.until", message="must be a time to come")])
WRONG_PAUSE_ID = invalid([FieldProblem(field="path.pause_id", message="Input should be a valid UUID")])
UNKNOWN_KEY = key_not_found(KEY["id"])
UNGRANTED = ungranted([Scope.OPERATE])
WRONG_KEY = invalid([FieldProblem(field="body.scopes", message="List should have at least 1 item")])
WRONG_ID = invalid([FieldProblem(field="path.task_id", message="Input should be a valid UUID")])
