"""A fake service and a real one say the same to the same calls, so that what is tested on the fake holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from harness.world import World
from task_client import (
    ApiKey,
    AuditEntry,
    KeyText,
    Pause,
    Priority,
    ProblemError,
    RepeatPolicy,
    Scope,
    TaskClient,
    TaskClientError,
    TaskState,
    View,
)
from task_client.testing import FakeService

NOBODY = UUID(int=1)
ONCE = RepeatPolicy(tries=1)
FIELDS = ("status", "attempt", "name", "priority", "rerun_count", "failures", "result", "labels", "queue", "type")
FIELDS_BY_KIND = {
    ApiKey: ("name", "owner", "scopes", "expires_at"),
    AuditEntry: ("action", "actor", "count"),
    Pause: ("queue", "type", "priority", "reason", "paused_by", "until"),
}


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
    fields = FIELDS_BY_KIND.get(type(found), FIELDS if isinstance(found, TaskState) else ())
    return {name: getattr(found, name) for name in fields if hasattr(found, name)} if fields else found


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

    def talk(client: TaskClient) -> dict[str, Any]:
        with client:
            return dict(conversation(client))

    real = await asyncio.to_thread(talk, TaskClient(api.url, repeats=ONCE))
    faked = await asyncio.to_thread(talk, fake.client(repeats=ONCE))

    assert faked == real


Connect = Callable[[str | None], TaskClient]


def conversation_with_keys(connect: Connect, first: str) -> Iterator[tuple[str, Any]]:
    """Say something of each kind about keys, pauses and the audit; `first` is a key of `operator` with all scopes."""
    with connect(first) as operator, connect(None) as nobody, connect(str(KeyText.new())) as stranger:
        yield "no key", outcome(nobody.stats)
        yield "an unknown key", outcome(stranger.stats)
        yield "health without a key", outcome(lambda: nobody.health().status)
        reading = operator.create_key("reading", [Scope.TASKS_READ, Scope.TASKS_WRITE], owner="reader")
        yield "keys", outcome(lambda: sorted(operator.list_keys(), key=lambda key: key.owner))
        with connect(reading.key) as reader:
            yield from _about_scopes(operator, reader)
            yield from _about_pauses(operator, reader)
            yield from _about_revoking(operator, reader, reading.id, KeyText.parse(first).id)
        yield "audited", outcome(operator.list_audit)
        yield "audited, of one kind", outcome(lambda: operator.audit_page(action="keys.create", limit=1).items)
        yield "audited, of nobody", outcome(lambda: operator.list_audit(actor="nobody"))


def _about_scopes(operator: TaskClient, reader: TaskClient) -> Iterator[tuple[str, Any]]:
    ended = reader.create(name="ended", type="echo", payload={"text": "x"})

    yield "without payload", outcome(lambda: [reader.wait(ended.id, 20), reader.get(ended.id).payload])
    yield "with payload", outcome(lambda: [operator.wait(ended.id, 20), operator.get(ended.id).payload])
    for name, call in {
        "full view": lambda: reader.page(view=View.FULL),
        "cancel many": lambda: reader.cancel_many(type="idle"),
        "would cancel": lambda: reader.cancel_many(type="idle", dry_run=True),
        "pause": lambda: reader.pause(type="idle"),
        "pauses": reader.list_pauses,
        "workers": reader.workers,
        "audit": reader.audit_page,
        "list of keys": reader.list_keys,
        "a key for others": lambda: reader.create_key("more", [Scope.TASKS_READ]),
    }.items():
        yield f"{name}, without the scope", outcome(call)
    yield "cancel of many", outcome(lambda: operator.cancel_many(type="idle"))


def _about_pauses(operator: TaskClient, reader: TaskClient) -> Iterator[tuple[str, Any]]:
    ends = datetime(2100, 1, 1, tzinfo=UTC)
    pause = operator.pause(type="echo", priority=Priority.LOW, reason="down", until=ends)
    held = reader.create(name="held", type="echo", priority=Priority.LOW)
    other = reader.create(name="other", type="echo")

    yield "not covered", outcome(lambda: reader.wait(other.id, 20).status)
    yield "covered", outcome(lambda: reader.status(held.id).attempt)
    yield "standing", outcome(operator.list_pauses)
    yield "resumed", outcome(lambda: operator.resume(pause.id))
    yield "no longer covered", outcome(lambda: reader.wait(held.id, 20).status)
    yield "resumed again", outcome(lambda: operator.resume(pause.id))
    yield "no such pause", outcome(lambda: operator.resume(NOBODY))
    yield "standing no more", outcome(lambda: (operator.list_pauses(), len(operator.list_pauses(include_ended=True))))
    yield "wrong pause", outcome(lambda: operator.pause(queue="no queue"))


def _about_revoking(operator: TaskClient, reader: TaskClient, reading: str, first: str) -> Iterator[tuple[str, Any]]:
    yield "no such key", outcome(lambda: operator.revoke_key("aaaaaaaaaaaa"))
    yield "last key", outcome(lambda: operator.revoke_key(first))
    yield "revoked", outcome(lambda: operator.revoke_key(reading))
    yield "after that", outcome(reader.stats)
    yield "keys left", outcome(operator.list_keys)
    yield "keys ever", outcome(lambda: len(operator.list_keys(include_revoked=True)))


def talk_with_keys(connect: Connect, first: str) -> dict[str, Any]:
    return dict(conversation_with_keys(connect, first))


def fake_with_keys() -> tuple[Connect, str]:
    fake = FakeService(handlers={"echo": lambda payload: payload}, require_keys=True)
    return lambda key: fake.client(api_key=key, repeats=ONCE), fake.new_key(owner="operator")


def test_the_conversation_about_keys_is_one_where_something_is_refused_and_something_done() -> None:
    said = talk_with_keys(*fake_with_keys())

    refused = {name: answer[1:] for name, answer in said.items() if isinstance(answer, tuple) and len(answer) == 3}
    assert {name for name in said if name.endswith("without the scope")} <= refused.keys()
    assert refused["no key"] == refused["an unknown key"] == refused["after that"] == (401, "unauthenticated")
    assert (refused["last key"], refused["resumed again"]) == ((409, "last_key"), (409, "pause_is_over"))
    assert [one["action"] for one in said["audited"]] == [
        "keys.revoke", "tasks.resume", "tasks.pause", "tasks.cancel", "keys.create",
    ]  # fmt: skip


async def test_a_fake_service_says_of_keys_and_pauses_what_a_real_one_says(world: World) -> None:
    open_to_all = await world.api()  # the first key is made where nobody is asked for one
    api = await world.api(TASK_API_AUTH="keys")
    await world.worker()

    def talk() -> dict[str, Any]:
        with TaskClient(open_to_all.url) as client:
            first = client.create_key("of the test", list(Scope), owner="operator").key
        return talk_with_keys(lambda key: TaskClient(api.url, api_key=key, repeats=ONCE), first)

    real = await asyncio.to_thread(talk)
    real["audited"] = [one for one in real["audited"] if one["actor"] == "operator"]  # not how the first key was made

    assert talk_with_keys(*fake_with_keys()) == real
