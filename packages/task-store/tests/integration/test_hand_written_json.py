"""JSON that hand-written SQL has put into a row: what cannot be read harms no other task, and is shown as a problem."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from task_contracts import Progress, SortOrder, TaskError, TaskState, TaskStatus
from task_store import Claim, Claims, TaskFilter, Tasks, UnreadableJsonError, new_lease_token
from task_store.testing import Table

DEEP = '{"a":' * 500 + "1" + "}" * 500
UNREADABLE = [
    ("labels", '{"a": 1e400}'),
    ("labels", "[1]"),
    ("labels", "null"),
    ("labels", '{"a": {"b": "c"}}'),
    ("progress", '{"percent": 1e400}'),
    ("progress", '{"percent": "no"}'),
    ("progress", "[]"),
    ("progress", "null"),
    ("error", '{"code": 1e400, "message": ""}'),
    ("error", '"x"'),
    ("error", '{"code": "a"}'),
    ("error", DEEP),
    ("payload", '{"x": 1e999}'),
    ("payload", r'{"x": "\ud800"}'),
    ("payload", "[]"),
    ("payload", DEEP),
    ("result", "[1e999]"),
    ("result", DEEP),
]
UNREADABLE_BY_CLAIMS = [
    *(one for one in UNREADABLE if one[0] in {"labels", "payload"}),
    ("checkpoint", "[1e999]"),
    ("checkpoint", r'{"x": "\ud800"}'),
    ("checkpoint", DEEP),
]
OLDEST = TaskFilter(order=SortOrder.OLDEST)


@pytest.fixture
def put_bad(table: Table) -> Callable[..., Awaitable[Any]]:
    """Put a FAILED task and write `text` into one of its JSON columns, past the store."""

    async def put(column: str, text: str) -> Any:
        task_id = await table.put(TaskStatus.COMPLETED if column == "result" else TaskStatus.FAILED)
        kind = "json" if column in {"payload", "result", "checkpoint"} else "jsonb"
        await table.execute(f"UPDATE tasks SET {column} = $1::text::{kind} WHERE id = $2", text, task_id)  # a name
        return task_id

    return put


@pytest.mark.parametrize(("column", "text"), UNREADABLE)
async def test_value_that_cannot_be_read_is_shown_as_a_problem_in_its_place(
    column: str, text: str, tasks: Tasks, table: Table, put_bad: Callable[..., Awaitable[Any]]
) -> None:
    before, bad_id, after = await table.put(), await put_bad(column, text), await table.put()

    shown = await tasks.get(bad_id)
    full = await tasks.page(OLDEST, items=10, is_full=True)
    summaries = await tasks.page(OLDEST, items=10)
    changed = await tasks.cancel(bad_id)

    problem = getattr(shown, column)
    match problem:
        case Progress():
            assert (problem.percent, problem.message[:34]) == (0, "the stored progress cannot be read")
        case TaskError():
            assert (problem.code, problem.message[:31]) == ("unreadable_json", "the stored error cannot be read")
        case _:
            assert problem["code"] == "unreadable_json"
            assert problem["message"].startswith(f"the stored {column} cannot be read: ")
    assert [task.id for task in full.items] == [task.id for task in summaries.items] == [before, bad_id, after]
    assert full.items[1] == changed.task == shown
    assert type(shown).model_validate_json(shown.model_dump_json()) == shown
    assert await tasks.state(bad_id) == TaskState(**{name: getattr(shown, name) for name in TaskState.model_fields})


@pytest.mark.parametrize(("column", "text"), UNREADABLE_BY_CLAIMS)
async def test_value_that_cannot_be_read_is_an_error_of_its_claim_alone(
    column: str, text: str, claims: Claims, table: Table, put_bad: Callable[..., Awaitable[Any]]
) -> None:
    ids = [await table.put(labels={"n": str(n)}, payload={"n": n}) for n in range(4)]
    bad_id = await put_bad(column, text)
    await table.execute(
        "UPDATE tasks SET status = 'NEW', error = NULL, finished_at = NULL, started_at = NULL, worker_id = NULL,"
        " lease_token = NULL WHERE id = $1",
        bad_id,
    )

    claimed = (await claims.by_id(await table.worker(), [*ids[:2], bad_id, *ids[2:]], new_lease_token())).claims

    bad = next(claim for claim in claimed if claim.id == bad_id)
    good = [claim for claim in claimed if claim.id != bad_id]
    with pytest.raises(UnreadableJsonError, match=f"^the stored {column} cannot be read: "):
        getattr(bad, column)
    assert sorted((claim.labels["n"], claim.payload["n"]) for claim in good) == [(str(n), n) for n in range(4)]


@pytest.mark.parametrize("column", ["progress", "error"])
async def test_what_cannot_be_read_of_an_earlier_attempt_does_not_keep_a_task_from_being_claimed(
    column: str, claims: Claims, table: Table
) -> None:
    task_id = await table.put(TaskStatus.PENDING)
    await table.execute(f"UPDATE tasks SET {column} = '[1e400]' WHERE id = $1", task_id)  # a name

    (claim,) = (await claims.by_id(await table.worker(), [task_id], new_lease_token())).claims

    assert isinstance(claim, Claim)
    assert (claim.id, claim.labels, claim.payload) == (task_id, {}, {})
