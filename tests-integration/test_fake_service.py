"""A fake service and a real one say the same to the same calls, so that what is tested on the fake holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from harness.world import World
from task_client import Priority, ProblemError, RepeatPolicy, TaskClient, TaskClientError, TaskState
from task_client.testing import FakeService

NOBODY = UUID(int=1)


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or how it is refused: without ids and times, which differ."""
    try:
        found = call()
    except ProblemError as error:
        return type(error).__name__, error.status, error.code
    except TaskClientError as error:
        return type(error).__name__
    if isinstance(found, Iterator):
        return [shown(one) for one in found]
    return [shown(one) for one in found] if isinstance(found, list) else shown(found)


def shown(found: Any) -> Any:
    if not isinstance(found, TaskState):
        return found
    fields = ("status", "attempt", "name", "priority", "rerun_count", "failures", "result", "labels", "queue", "type")
    return {name: getattr(found, name) for name in fields if hasattr(found, name)}


def conversation(client: TaskClient) -> Iterator[tuple[str, Any]]:
    """Say something of each kind, and yield what came back."""
    later = client.create(name="later", type="idle", run_at=datetime.now(UTC) + timedelta(hours=1), key="first")
    again = client.create(name="later", type="idle", run_at=later.run_at, key="first")
    past = client.create(name="past", type="idle", run_at=datetime(2020, 1, 1, tzinfo=UTC))
    many = client.create_many(({"name": f"n {n}", "type": "idle"} for n in range(3)), key="many")
    ended = client.create(name="ended", payload={"text": "x"})

    yield "repeat", outcome(lambda: again.id == later.id)
    yield "mismatch", outcome(lambda: client.create(name="other", key="first"))
    yield "one key, two calls", outcome(lambda: client.create_many([{"name": "a"}], key="first"))
    yield "due", past.due_at >= past.created_at
    yield "lazily", outcome(lambda: client.iter_create_many([{"name": "a", "type": "idle"}] * 2))
    yield "no queue", outcome(lambda: client.create(name="a", queue="nowhere"))
    yield "wrong", outcome(lambda: client.create_many([{"name": "a"}, {"name": ""}]))
    yield "wait", outcome(lambda: client.wait(ended.id, 20))
    yield "nobody", outcome(lambda: client.get(NOBODY))
    yield "update", outcome(lambda: client.update(later.id, priority=Priority.HIGH))
    yield "update of a version", outcome(lambda: client.update(later.id, priority=Priority.LOW, if_version=99))
    yield "update of an end", outcome(lambda: client.update(ended.id, priority=Priority.LOW))
    yield "cancel of an end", outcome(lambda: client.cancel(ended.id))
    yield "rerun of an end", outcome(lambda: client.rerun(ended.id))
    yield "rerun of what waits", outcome(lambda: client.rerun(later.id))
    yield "cancel", [outcome(lambda: client.cancel(later.id)) for _ in range(2)]
    yield "rerun", outcome(lambda: client.rerun(later.id))
    yield "by key", outcome(lambda: client.list(idempotency_key="many"))
    yield "would cancel", outcome(lambda: client.cancel_many(id=[one.id for one in many], dry_run=True))
    yield "cancel many", outcome(lambda: client.cancel_many(id=[one.id for one in many]))
    yield "cancel again", outcome(lambda: client.cancel_many(id=[one.id for one in many]))
    yield "rerun many", outcome(lambda: client.rerun_many(id=[one.id for one in many[:2]]))
    yield "all and a filter", outcome(lambda: client.cancel_many(every=True, type="idle"))
    yield "nothing", outcome(lambda: client.cancel_many())
    yield "events of one", outcome(lambda: [one.status for one in client.events(ended.id)])
    yield "as completed", outcome(lambda: client.as_completed([ended.id, ended.id]))
    yield "events", outcome(lambda: list(islice(client.events(priority=Priority.LOW), 1)))  # type: ignore[call-overload]


async def test_a_fake_service_says_what_a_real_one_says(world: World) -> None:
    api = await world.api()
    await world.worker()
    fake = FakeService(handlers={"echo": lambda payload: payload})
    once = RepeatPolicy(tries=1)

    def talk(client: TaskClient) -> dict[str, Any]:
        with client:
            return dict(conversation(client))

    real = await asyncio.to_thread(talk, TaskClient(api.url, repeats=once))
    faked = await asyncio.to_thread(talk, fake.client(repeats=once))

    assert faked == real
