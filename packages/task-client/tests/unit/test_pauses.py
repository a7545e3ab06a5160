"""Pauses and the audit, on the fake service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from task_client import (
    ConflictError,
    ConnectionFailedError,
    NotFoundError,
    Priority,
    TaskStatus,
    ValidationFailedError,
)
from task_client.testing import FakeService
from task_contracts.testing import an_id

Make = Callable[..., Any]


@pytest.mark.parametrize("covering", [{"queue": "default"}, {"type": "echo"}, {"priority": "MEDIUM"}, {"every": True}])
async def test_what_is_paused_begins_once_it_is_resumed(
    connect: Make, fake: FakeService, covering: dict[str, Any]
) -> None:
    talk = connect(answer=fake.answer)
    pause = await talk("pause", reason="the mail provider is down", **covering)
    task = await talk("create", name="a")
    assert (await talk("status", task.id)).status is TaskStatus.NEW
    assert await talk("list_pauses") == [pause]

    ended = await talk("resume", pause.id)

    assert (await talk("status", task.id)).status is TaskStatus.COMPLETED
    assert ended.ended_at >= pause.effective_at
    assert await talk("list_pauses") == []
    assert await talk("list_pauses", include_ended=True) == [ended]
    with pytest.raises(ConflictError, match="pause_is_over"):
        await talk("resume", str(pause.id))


async def test_what_a_pause_does_not_cover_goes_on(connect: Make, fake: FakeService) -> None:
    talk = connect(answer=fake.answer)
    await talk("pause", type="echo", priority=Priority.LOW)

    task = await talk("create", name="a", priority=Priority.HIGH)

    assert (await talk("status", task.id)).status is TaskStatus.COMPLETED


async def test_a_pause_with_an_end_ends_by_itself(connect: Make, fake: FakeService) -> None:
    talk = connect(answer=fake.answer)
    pause = await talk("pause", type="echo", until=datetime.now(UTC) + timedelta(seconds=0.2))
    task = await talk("create", name="a")

    assert (await talk("wait", task.id, 5)).status is TaskStatus.COMPLETED
    (over,) = await talk("list_pauses", include_ended=True)
    assert over.ended_at == pause.until


@pytest.mark.parametrize("given", [{}, {"reason": "r"}, {"queue": "default", "every": True}])
async def test_which_tasks_are_meant_must_be_said_in_one_way(
    connect: Make, fake: FakeService, given: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="every=True"):
        await connect(answer=fake.answer)("pause", **given)

    assert fake.requests == []


async def test_what_is_wrong_with_a_pause_is_said_by_field(connect: Make, fake: FakeService) -> None:
    talk = connect(answer=fake.answer)
    with pytest.raises(ValidationFailedError) as wrong:
        await talk("pause", queue="no queue!", until=datetime(2030, 1, 1))

    assert {one.field for one in wrong.value.errors} == {"body.queue", "body.until"}
    with pytest.raises(NotFoundError, match="pause_not_found"):
        await talk("resume", an_id())
    with pytest.raises(ValueError, match="badly formed"):
        await talk("resume", "not an id")


@pytest.mark.parametrize(("method", "args"), [("create_key", ("a", ["keys"])), ("pause", ())])
async def test_what_a_repeat_would_do_twice_is_not_repeated(connect: Make, method: str, args: tuple[Any, ...]) -> None:
    sent: list[str] = []

    def hang_up(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.method)
        raise httpx2.ReadError("cut", request=request)

    talk = connect(answer=hang_up)
    with pytest.raises(ConnectionFailedError, match="may have been done") as cut:
        await talk(method, *args, **({"every": True} if method == "pause" else {}))

    assert (sent, cut.value.is_repeat_safe) == (["POST"], False)


async def test_what_operators_do_is_audited_and_read_page_by_page(connect: Make, fake: FakeService) -> None:
    talk = connect(answer=fake.answer)
    for n in range(5):
        await talk("create", name="a", type="idle")
        assert await talk("cancel_many", type="idle", labels={"n": str(n)}) == 0
    await talk("cancel_many", type="idle", dry_run=True)
    await talk("pause", type="idle")

    everything = await talk.first(None, "list_audit", limit=2)
    page = await talk("audit_page", action="tasks.cancel", limit=3)
    rest = await talk("audit_page", action="tasks.cancel", limit=3, cursor=page.next_cursor)

    assert [entry.action for entry in everything] == ["tasks.pause", *["tasks.cancel"] * 5]
    assert everything[1].filter == {"type": "idle", "label": ["n:4"]}
    assert (everything[1].count, everything[1].actor) == (0, "")
    assert [*page.items, *rest.items] == everything[1:]
    assert (len(page.items), rest.next_cursor) == (3, None)
