"""The calls that say what happened and why, of both clients, against the fake service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from task_client import NotFoundError, ProblemError, Reason, TaskStatus
from task_client.testing import FakeService

Talk = Callable[..., Awaitable[Any]]


@pytest.fixture
def fake() -> FakeService:
    service = FakeService({"echo": lambda payload: payload}, queues=frozenset({"default", "reports"}))

    @service.on("mail.send")
    def send(payload: dict[str, object]) -> None:
        raise ConnectionError("no mail server")

    return service


@pytest.fixture
def talk(connect: Callable[..., Talk], fake: FakeService) -> Talk:
    return connect(answer=fake.answer)


async def test_attempts_say_how_each_ended(talk: Talk) -> None:
    task = await talk("create", name="mail", type="mail.send")
    await talk("rerun", task.id)

    attempts = await talk("attempts", task.id)

    assert [(one.attempt, one.outcome, one.error.message) for one in attempts] == [
        (1, "FAIL", "no mail server"),
        (2, "FAIL", "no mail server"),
    ]
    assert all(one.ended_at >= one.started_at and one.pid for one in attempts)


async def test_a_task_that_never_ran_has_no_attempts(talk: Talk) -> None:
    task = await talk("create", name="slow", type="slow")

    assert await talk("attempts", task.id) == []


async def test_explain_says_why_in_each_state(talk: Talk, fake: FakeService) -> None:
    reasons = []
    task = await talk("create", name="slow", type="slow")
    reasons.append((await talk("explain", task.id)).reason)
    fake.begin(task.id)
    running = await talk("explain", task.id)
    await talk("cancel", task.id)
    reasons.append((await talk("explain", task.id)).reason)
    fake.fail(task.id)
    reasons.append((await talk("explain", task.id)).reason)
    later = await talk("create", name="later", run_at=datetime.now(UTC) + timedelta(hours=1))
    due = await talk("explain", later.id)

    assert reasons == [Reason.NO_WORKER_OFFERS_TYPE, Reason.CANCEL_REQUESTED, Reason.CANCELLED]
    assert (running.reason, running.status, running.pid is None) == (Reason.RUNNING, TaskStatus.IN_PROGRESS, False)
    assert due.reason is Reason.NOT_DUE
    assert 3_500 < due.due_in_seconds <= 3_600


async def test_counts_and_demand_agree(talk: Talk, fake: FakeService) -> None:
    waiting = [await talk("create", name="slow", type="slow", queue="reports") for _ in range(3)]
    fake.begin(waiting[0].id)

    stats, demand = await talk("stats"), await talk("demand", "reports", target_wait_seconds=5)
    by_queue = {state.queue: state for state in await talk("queues")}

    assert (stats.waiting, stats.running, stats.rates[0].accepted) == (2, 1, 3)
    assert (by_queue["reports"].waiting, by_queue["default"].waiting) == (2, 0)
    assert (demand.demand, demand.waiting, demand.running, demand.desired_workers) == (3, 2, 1, 3)


async def test_demand_of_no_queue_is_refused(talk: Talk) -> None:
    with pytest.raises(NotFoundError, match="no queue"):
        await talk("demand", "nowhere")
    with pytest.raises(ProblemError, match="target_wait_seconds"):
        await talk("demand", "default", target_wait_seconds=0.5)


async def test_errors_come_in_groups_the_largest_first(talk: Talk, fake: FakeService) -> None:
    slow = await talk("create", name="slow", type="slow")
    fake.fail(slow.id, "too slow", type="SlowError")
    mails = [await talk("create", name="mail", type="mail.send") for _ in range(3)]

    groups = await talk("errors")

    assert [(group.type, group.exception, group.count) for group in groups] == [
        ("mail.send", "ConnectionError", 3),
        ("slow", "SlowError", 1),
    ]
    assert groups[0].example_id in {mail.id for mail in mails}


async def test_failures_of_one_kind_are_listed_and_run_again(talk: Any, fake: FakeService) -> None:
    slow = await talk("create", name="slow", type="slow")
    fake.fail(slow.id, "too slow", type="SlowError")
    mails = [await talk("create", name="mail", type="mail.send") for _ in range(3)]
    kind = (await talk("errors"))[0].fingerprint

    listed = await talk.take(fingerprint=kind)
    rerun = await talk("rerun_many", fingerprint=kind)

    assert {task.id for task in listed} == {mail.id for mail in mails}
    assert rerun == 3


async def test_workers_types_and_version_name_what_is_there(talk: Talk) -> None:
    (worker,) = await talk("workers")
    types = await talk("types")

    assert worker.types == ["echo", "mail.send"]
    assert {(one.type, one.queue) for one in types} >= {("echo", "default"), ("mail.send", "reports")}
    assert (await talk("version")).version
