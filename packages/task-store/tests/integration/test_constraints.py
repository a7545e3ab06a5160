"""The database refuses rows that the tables of the life cycle do not allow, whoever writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from task_contracts import TaskStatus
from task_contracts.lifecycle import COLUMN_RULES, Presence

HASH = bytes(32)
SOMETHING: dict[str, Any] = {
    "started_at": timedelta(minutes=-30),
    "worker_id": uuid4(),
    "lease_token": uuid4(),
    "finished_at": timedelta(minutes=-1),
    "result": {"n": 1},
    "error": {"code": "failed", "message": "no", "type": None},
    "fingerprint": "4f0c2b9a1d3e5f60",
    "cancel_requested_at": timedelta(minutes=-2),
    "dispatched_at": timedelta(minutes=-40),
}


@pytest.mark.parametrize("column", COLUMN_RULES)
async def test_column_holds_a_value_just_where_its_rule_allows(
    column: str, table: Any, subtests: pytest.Subtests
) -> None:
    for status, presence in COLUMN_RULES[column].items():
        for value, is_refused in ((SOMETHING[column], Presence.NEVER), (None, Presence.ALWAYS)):
            with subtests.test(status=status, value=value):
                if presence is is_refused:
                    with pytest.raises(asyncpg.CheckViolationError) as caught:
                        await table.put(status, **{column: value})

                    assert caught.value.constraint_name == f"ck_tasks_{column}_by_status"
                else:
                    await table.put(status, **{column: value})


@pytest.mark.parametrize(
    ("constraint", "status", "columns"),
    [
        ("ck_tasks_status", TaskStatus.NEW, {"status": "RUNNING"}),
        ("ck_tasks_priority", TaskStatus.NEW, {"priority": "URGENT"}),
        *(
            ("ck_tasks_counts", TaskStatus.NEW, {name: -1})
            for name in ("attempt", "failures", "lost_count", "rerun_count")
        ),
        ("ck_tasks_started_after_created", TaskStatus.IN_PROGRESS, {"started_at": timedelta(hours=-2)}),
        ("ck_tasks_hash_of_key", TaskStatus.NEW, {"idempotency_key": "k"}),
        ("ck_tasks_hash_of_key", TaskStatus.NEW, {"request_hash": HASH}),
        ("ck_tasks_idempotency_key", TaskStatus.NEW, {"idempotency_key": "", "request_hash": HASH}),
        ("ck_tasks_idempotency_key", TaskStatus.NEW, {"idempotency_key": "k" * 261, "request_hash": HASH}),
        ("ck_tasks_request_hash", TaskStatus.NEW, {"idempotency_key": "k", "request_hash": HASH[1:]}),
        ("ck_tasks_finished_last", TaskStatus.COMPLETED, {"finished_at": timedelta(minutes=-31)}),
        ("ck_tasks_finished_last", TaskStatus.CANCELLED, {"finished_at": timedelta(hours=-2)}),
    ],
)
async def test_row_out_of_order_is_refused_by_name(
    constraint: str, status: TaskStatus, columns: dict[str, Any], table: Any
) -> None:
    task_id = await table.put(status)

    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await table.set("tasks", task_id, **columns)

    assert caught.value.constraint_name == constraint


async def test_attempt_that_completed_leaves_no_row_beside_the_task(table: Any) -> None:
    task_id = await table.put()
    query = (
        "INSERT INTO task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome)"
        " VALUES ($1, 1, $1, now(), now(), $2)"
    )

    await table.connection.execute(query, task_id, "RETRY")
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await table.connection.execute(query, task_id, "COMPLETE")

    assert caught.value.constraint_name == "ck_task_attempts_outcome"
