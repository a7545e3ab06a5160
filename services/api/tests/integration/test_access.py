"""Who may do what: every call of the document, with and without keys, and nothing that a key may not see."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx2
import pytest

from task_api.access.guard import SCOPES
from task_api.app import create_app
from task_api.parts import ApiParts
from task_bus.signals import MemoryHub
from task_contracts import ApiKeyCreate, KeyText, Scope, TaskError
from task_store import NOBODY, ApiKeys, Ending
from task_store.testing import connect_past_store

OpenParts = Callable[..., AbstractAsyncContextManager[ApiParts]]
MakeKey = Callable[..., Awaitable[str]]
TASKS = "/api/v1/tasks"
NO_TASK = "019ab5e2-5a4e-7c3d-8f21-6d0c5b7a9e10"
BODIES: dict[str, Any] = {
    "create_task": {"name": "a task"},
    "create_tasks": {"tasks": [{"name": "a task"}]},
    "update_task": {"priority": "HIGH"},
    "cancel_tasks": {"all": True, "dry_run": True},
    "rerun_tasks": {"all": True, "dry_run": True},
    "create_key": {"name": "a key", "scopes": ["keys"]},
}
SECRET = "s3cr3t-of-a-customer"  # stands in payloads, results and tracebacks


class Call(NamedTuple):
    """One call of the document."""

    name: str
    method: str
    path: str
    scopes: frozenset[Scope]


def calls(parts: ApiParts) -> Iterator[Call]:
    for path, operations in create_app(parts).openapi()["paths"].items():
        for method, operation in operations.items():
            scopes = frozenset(Scope(one["key"][0]) for one in operation.get("security", ()))
            filled = path.format(task_id=NO_TASK, queue="default", key_id="nobody", pause_id=NO_TASK)
            yield Call(operation["operationId"], method.upper(), filled, scopes)


@pytest.fixture
async def parts(open_parts: OpenParts, database_url: str, hub: MemoryHub) -> AsyncIterator[ApiParts]:
    async with open_parts(database_url, hub, auth="keys") as opened:
        yield opened


@pytest.fixture
def make_key(parts: ApiParts) -> MakeKey:
    """Create a key with these scopes, and return its text."""

    async def made(*scopes: Scope, owner: str | None = None) -> str:
        text = KeyText.new()
        await ApiKeys(parts.database).create(
            text, ApiKeyCreate(name="a key", scopes=frozenset(scopes), owner=owner), NOBODY
        )
        return str(text)

    return made


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def status_of(client: httpx2.AsyncClient, call: Call, key: str | None) -> tuple[int, dict[str, Any]]:
    """Make a call; of a stream only the beginning of the answer is read."""
    options: dict[str, Any] = {"headers": {} if key is None else bearer(key)}
    if call.name in BODIES or call.name == "post_events":
        options["json"] = BODIES.get(call.name, {})
    async with client.stream(call.method, call.path, **options) as answer:
        is_problem = answer.headers.get("content-type") == "application/problem+json"
        return answer.status_code, json.loads(await answer.aread()) if is_problem else {}


async def test_every_call_takes_the_scopes_that_its_document_names_and_no_others(
    parts: ApiParts, live_client: httpx2.AsyncClient, make_key: MakeKey
) -> None:
    key_by_scope = {scope: await make_key(scope) for scope in Scope}
    every = list(calls(parts))
    assert {call.name: call.scopes for call in every} == {name: frozenset(scopes) for name, scopes in SCOPES.items()}

    for call in every:
        without, problem = await status_of(live_client, call, None)
        assert without == (401 if call.scopes else 200), call
        assert not call.scopes or problem["code"] == "unauthenticated"
        for scope, key in key_by_scope.items():
            status, problem = await status_of(live_client, call, key)
            is_enough = scope in call.scopes or (scope is Scope.TASKS_PAYLOAD and Scope.TASKS_READ in call.scopes)
            if not call.scopes or is_enough:
                assert status not in {401, 403, 429, 500, 503}, (call, scope, problem)
            else:
                assert (status, problem["code"]) == (403, "forbidden"), (call, scope)
                assert any(one in problem["detail"] for one in call.scopes)


async def test_head_is_guarded_as_get_is(parts: ApiParts, live_client: httpx2.AsyncClient, make_key: MakeKey) -> None:
    metrics = await make_key(Scope.METRICS)
    for call in calls(parts):
        if call.method == "GET" and call.scopes:
            without = await live_client.head(call.path)
            with_another = await live_client.head(call.path, headers=bearer(metrics))
            assert (without.status_code, call.name) == (401, call.name)
            assert (with_another.status_code == 403) is (Scope.METRICS not in call.scopes)


async def test_pages_of_the_documentation_stay_open(client: httpx2.AsyncClient) -> None:
    for path in ("/openapi.json", "/docs", "/redoc", "/assets/docs.js"):
        assert (await client.get(path)).status_code == 200


async def test_a_key_that_is_malformed_unknown_expired_or_revoked_gets_one_and_the_same_answer(
    parts: ApiParts, client: httpx2.AsyncClient, make_key: MakeKey, sql: asyncpg.Connection
) -> None:
    await make_key(Scope.KEYS)
    expired, revoked = await make_key(Scope.KEYS), await make_key(Scope.KEYS)
    await sql.execute(
        "UPDATE api_keys SET expires_at = clock_timestamp() - interval '1 ms' WHERE id = $1", KeyText.parse(expired).id
    )
    await ApiKeys(parts.database).revoke(KeyText.parse(revoked).id, NOBODY)
    of_another_secret = str(KeyText(KeyText.parse(expired).id, KeyText.new().secret))
    sent = ["Bearer hello", f"Bearer {KeyText.new()}", f"Bearer {of_another_secret}", f"Bearer {expired}"]
    sent += [f"Bearer {revoked}", f"Basic {revoked}", "Bearer ", f"Bearer {revoked[:-1]}", "Bearer é"]

    answers = [await client.get(TASKS, headers={"authorization": one.encode("latin-1")}) for one in sent]
    answers.append(await client.get(TASKS))

    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    shown = [{name for name in answer.headers if name != "x-request-id"} for answer in answers]
    assert all(one == shown[0] for one in shown)


async def test_each_kind_of_wrong_key_costs_one_look_up(
    parts: ApiParts, client: httpx2.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = await make_key(Scope.TASKS_READ)
    await ApiKeys(parts.database).revoke(KeyText.parse(revoked).id, NOBODY)
    looked_up: list[str] = []
    find = ApiKeys.find

    async def counted(keys: ApiKeys, key_id: str) -> Any:
        looked_up.append(key_id)
        return await find(keys, key_id)

    monkeypatch.setattr(ApiKeys, "find", counted)
    for text in ("hello", str(KeyText.new()), revoked):
        before = len(looked_up)
        assert (await client.get(TASKS, headers=bearer(text))).status_code == 401
        assert len(looked_up) == before + 1


async def test_a_key_that_is_used_again_costs_no_statement(
    client: httpx2.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await make_key(Scope.TASKS_READ)
    assert (await client.get(TASKS, headers=bearer(key))).status_code == 200

    async def fail(*_: Any) -> None:
        raise AssertionError("a look-up")

    monkeypatch.setattr(ApiKeys, "find", fail)

    assert (await client.get(TASKS, headers=bearer(key))).status_code == 200


async def test_a_key_with_more_than_one_scope_may_do_what_each_of_them_says(
    client: httpx2.AsyncClient, make_key: MakeKey
) -> None:
    key = await make_key(Scope.TASKS_WRITE, Scope.TASKS_READ)

    created = await client.post(TASKS, json={"name": "a task"}, headers=bearer(key))

    assert created.status_code == 201
    assert (await client.get(created.headers["location"], headers=bearer(key))).status_code == 200


async def test_without_the_scope_of_payloads_nothing_of_them_is_answered(
    parts: ApiParts,
    live_client: httpx2.AsyncClient,
    make_key: MakeKey,
    worker: Any,
    database_url: str,
) -> None:
    """By no call that reads, no stream, and no answer to a change; with the scope all of it is there."""
    reader = await make_key(Scope.TASKS_READ, Scope.TASKS_WRITE, Scope.OPERATE, Scope.METRICS, Scope.KEYS)
    seer = await make_key(Scope.TASKS_PAYLOAD, Scope.TASKS_WRITE)
    given = {"name": "a task", "payload": {"card": SECRET}}
    created = [await live_client.post(TASKS, json=given, headers=bearer(reader)) for _ in range(3)]
    batch = await live_client.post(f"{TASKS}/batch", json={"tasks": [given]}, headers=bearer(reader))
    done, failed, waiting = (answer.json()["id"] for answer in created)
    await worker.complete(done, json.dumps({"card": SECRET}))
    claim = await worker.claim(failed)
    error = TaskError(code="handler_error", message="it broke", type="RuntimeError")
    assert await worker._attempts.record(Ending.fail(claim, error))
    connection = await connect_past_store(database_url)
    await connection.execute("UPDATE task_attempts SET traceback = $1 WHERE task_id = $2", SECRET, UUID(failed))
    await connection.execute("UPDATE tasks SET checkpoint = $1, checkpoint_bytes = 30", {"card": SECRET})
    await connection.close(timeout=10)

    async def texts(key: str) -> list[str]:
        read = []
        for call in calls(parts):
            if call.method != "GET" or not call.scopes or call.name in {"stream_events", "stream_task_events"}:
                continue
            for task_id in (done, failed, waiting) if NO_TASK in call.path else ("",):
                answer = await live_client.get(call.path.replace(NO_TASK, task_id), headers=bearer(key))
                read.append(answer.text)
        read.append((await live_client.get(f"{TASKS}/{done}/events", headers=bearer(key))).text)
        for path, method in ((f"{TASKS}/{waiting}", "PATCH"), (f"{TASKS}/{failed}/rerun", "POST")):
            body = {"priority": "HIGH"} if method == "PATCH" else None
            read.append((await live_client.request(method, path, json=body, headers=bearer(key))).text)
        read.append((await live_client.get(f"{TASKS}/{done}", headers=bearer(key) | {"prefer": "wait=1"})).text)
        return read

    seen = await texts(reader)
    cancelled = await live_client.delete(f"{TASKS}/{waiting}", headers=bearer(reader))
    repeated = [
        await live_client.post(TASKS, json=given, headers=bearer(reader) | {"idempotency-key": "once"})
        for _ in range(2)
    ]

    answers = [*seen, batch.text, cancelled.text, *(one.text for one in (*created, *repeated))]
    assert [text for text in answers if SECRET in text or "traceback" in text] == []
    assert all('"payload":' not in text and '"result":' not in text for text in answers)
    assert sum("a task" in text for text in answers) >= 8
    of_seer = await texts(seer)
    assert sum(SECRET in text for text in of_seer) >= 5
    assert any("traceback" in text for text in of_seer)
    whole = await live_client.get(TASKS, params={"view": "full"}, headers=bearer(reader))
    assert (whole.status_code, whole.json()["code"]) == (403, "forbidden")
    assert "view=full needs a key with the scope tasks:payload" in whole.json()["detail"]
    assert SECRET in (await live_client.get(TASKS, params={"view": "full"}, headers=bearer(seer))).text


async def test_an_idempotency_key_belongs_to_the_owner_of_the_key(
    client: httpx2.AsyncClient, make_key: MakeKey
) -> None:
    billing, shop = await make_key(*Scope, owner="billing"), await make_key(*Scope, owner="shop")
    rotated = await make_key(*Scope, owner="billing")

    async def create(key: str, name: str) -> httpx2.Response:
        headers = bearer(key) | {"idempotency-key": "order-42"}
        return await client.post(TASKS, json={"name": name}, headers=headers)

    first, of_another, again, wrong = (
        await create(billing, "one"),
        await create(shop, "another"),
        await create(rotated, "one"),
        await create(rotated, "another"),
    )

    assert first.json()["id"] != of_another.json()["id"]
    assert again.json()["id"] == first.json()["id"]
    assert (wrong.status_code, wrong.json()["code"]) == (422, "idempotency_mismatch")
    for key, answer in ((rotated, first), (shop, of_another)):
        found = await client.get(TASKS, params={"idempotency_key": "order-42"}, headers=bearer(key))
        assert [task["id"] for task in found.json()["items"]] == [answer.json()["id"]]


async def test_switching_keys_on_begins_a_new_scope_of_idempotency_keys_beside_an_api_without(
    parts: ApiParts, client: httpx2.AsyncClient, make_key: MakeKey, open_parts: OpenParts, open_client: Any
) -> None:
    key, given = await make_key(Scope.TASKS_WRITE), {"json": {"name": "a task"}}
    headers = {"idempotency-key": "order-42"}
    async with open_parts(parts.database.url, auth="off") as before, open_client(before) as open_one:
        first = await open_one.post(TASKS, headers=headers, **given)
        keyed = await client.post(TASKS, headers=headers | bearer(key), **given)
        again = await open_one.post(TASKS, headers=headers, **given)

    assert [answer.status_code for answer in (first, keyed, again)] == [201] * 3
    assert keyed.json()["id"] != first.json()["id"] == again.json()["id"]


async def test_health_says_what_is_wrong_to_whoever_has_a_key(client: httpx2.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key(Scope.METRICS)

    sent = ({}, bearer(str(KeyText.new())), bearer(key))
    unknown, wrong, known = [await client.get("/health/ready", headers=headers) for headers in sent]

    assert unknown.json() == wrong.json() == {"status": known.json()["status"], "checks": {}}
    assert known.json()["checks"].keys() == {"database", "schema", "workers", "broker"}
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_the_log_names_the_key_and_its_owner_and_never_its_secret(
    client: httpx2.AsyncClient, make_key: MakeKey, capsys: pytest.CaptureFixture[str]
) -> None:
    key, wrong = await make_key(Scope.TASKS_READ, owner="billing"), str(KeyText.new())

    for text in (key, wrong):
        await client.get(TASKS, headers=bearer(text))

    written = "".join(capsys.readouterr())
    assert f"key={KeyText.parse(key).id}" in written
    assert "owner=billing" in written
    assert KeyText.parse(key).secret not in written
    assert KeyText.parse(wrong).id not in written


async def test_every_answer_keeps_browsers_from_guessing_framing_and_telling(
    client: httpx2.AsyncClient, make_key: MakeKey
) -> None:
    key = await make_key(Scope.TASKS_READ)
    for path in (TASKS, "/docs", "/nothing", "/health/live", f"{TASKS}/nothing"):
        for headers in ({}, bearer(key), {"host": "evil.example"}):
            answer = await client.get(path, headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers.get_list("content-security-policy")[0].endswith("frame-ancestors 'none'")
            assert len(answer.headers.get_list("content-security-policy")) == 1


async def test_a_change_of_many_is_written_into_the_audit_with_who_asked_for_what(
    client: httpx2.AsyncClient, make_key: MakeKey
) -> None:
    key = await make_key(Scope.OPERATE, Scope.TASKS_WRITE, owner="night shift")
    for _ in range(2):
        await client.post(TASKS, json={"name": "a task"}, headers=bearer(key))
    headers = bearer(key) | {"x-request-id": "request-7"}
    wanted = {"queue": "default", "status": ["NEW"]}

    dry = await client.post(f"{TASKS}/cancel", json={"filter": wanted, "dry_run": True}, headers=headers)
    done = await client.post(f"{TASKS}/cancel", json={"filter": wanted}, headers=headers)
    rerun = await client.post(f"{TASKS}/rerun", json={"all": True}, headers=bearer(key))
    page = await client.get("/api/v1/audit", params={"actor": "night shift"}, headers=bearer(key))

    assert [answer.json()["changed"] for answer in (dry, done, rerun)] == [2, 2, 2]
    acts = page.json()["items"]
    assert [(act["action"], act["filter"], act["count"]) for act in acts] == [
        ("tasks.rerun", {"all": True}, 2),
        ("tasks.cancel", wanted, 2),
    ]
    assert acts[1]["request_id"] == "request-7"
