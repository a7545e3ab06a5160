"""Keys over time: revoked while something goes on, wrong ones again and again, and while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import httpx2
import pytest

from task_api.access import access as access_module
from task_api.access import failed_attempts
from task_api.parts import ApiParts
from task_bus.signals import MemoryHub
from task_contracts import ApiKeyCreate, KeyText, Scope
from task_store import NOBODY, ApiKeys, CachedKeys, DatabaseUnavailableError, cached_keys

OpenParts = Callable[..., AbstractAsyncContextManager[ApiParts]]
MakeKey = Callable[..., Awaitable[str]]
TASKS, KEYS, EVENTS = "/api/v1/tasks", "/api/v1/keys", "/api/v1/events"


@pytest.fixture
async def parts(open_parts: OpenParts, database_url: str, hub: MemoryHub) -> AsyncIterator[ApiParts]:
    async with open_parts(database_url, hub, auth="keys") as opened:
        yield opened


@pytest.fixture
def make_key(parts: ApiParts) -> MakeKey:
    """Create a key with these scopes, and return its text."""

    async def made(*scopes: Scope) -> str:
        text = KeyText.new()
        await ApiKeys(parts.database).create(text, ApiKeyCreate(name="a key", scopes=frozenset(scopes)), NOBODY)
        return str(text)

    return made


@pytest.fixture
async def other_parts(
    open_parts: OpenParts, database_url: str, hub: MemoryHub, parts: ApiParts
) -> AsyncIterator[ApiParts]:
    """Another process of the API."""
    async with open_parts(database_url, hub, auth="keys") as opened:
        yield opened


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def id_of(text: str) -> str:
    return KeyText.parse(text).id


async def test_a_key_is_created_used_and_revoked_over_rest(client: httpx2.AsyncClient, make_key: MakeKey) -> None:
    admin = await make_key(*Scope)
    asked = {"name": "billing", "owner": "billing", "scopes": ["tasks:read"], "expires_at": "2999-01-01T00:00:00Z"}

    created = await client.post(KEYS, json=asked, headers=bearer(admin))
    key = created.json()["key"]
    before = await client.get(TASKS, headers=bearer(key))
    listed = await client.get(KEYS, headers=bearer(admin))
    revoked = [await client.delete(f"{KEYS}/{id_of(key)}", headers=bearer(admin)) for _ in range(2)]
    after = await client.get(TASKS, headers=bearer(key))
    audit = await client.get("/api/v1/audit", headers=bearer(admin))

    assert (created.status_code, created.headers["cache-control"]) == (201, "no-store")
    assert created.json()["owner"] == "billing"
    assert created.json()["created_by"] == id_of(admin)
    assert [answer.status_code for answer in (before, *revoked, after)] == [200, 204, 204, 401]
    assert {one["id"] for one in listed.json()["items"]} == {id_of(admin), id_of(key)}
    assert KeyText.parse(key).secret not in listed.text
    assert [(act["action"], act["target"]) for act in audit.json()["items"][:2]] == [
        ("keys.revoke", id_of(key)),
        ("keys.create", id_of(key)),
    ]


async def test_a_key_cannot_give_what_it_lacks(client: httpx2.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key(Scope.KEYS, Scope.TASKS_PAYLOAD)

    refused = await client.post(KEYS, json={"name": "more", "scopes": ["keys", "operate"]}, headers=bearer(key))
    contained = await client.post(KEYS, json={"name": "less", "scopes": ["tasks:read"]}, headers=bearer(key))

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert refused.json()["detail"] == "a key cannot give what it lacks: operate"
    assert contained.status_code == 201


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["tasks:fly"]},
        {"name": "", "scopes": ["keys"]},
        {"name": "a", "scopes": ["keys"], "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "a", "scopes": ["keys"], "expires_at": "tomorrow"},
        {"name": "a", "scopes": ["keys"], "secret": "mine"},
        {"name": "a", "scopes": ["keys"], "owner": ""},
    ],
)
async def test_a_wrong_key_is_not_created(client: httpx2.AsyncClient, make_key: MakeKey, wrong: dict[str, Any]) -> None:
    admin = await make_key(*Scope)

    answer = await client.post(KEYS, json=wrong, headers=bearer(admin))

    assert answer.status_code == 422
    assert len((await client.get(KEYS, headers=bearer(admin))).json()["items"]) == 1


async def test_the_last_key_for_keys_stays_and_an_unknown_one_is_not_found(
    client: httpx2.AsyncClient, make_key: MakeKey
) -> None:
    admin = await make_key(*Scope)

    last = await client.delete(f"{KEYS}/{id_of(admin)}", headers=bearer(admin))
    unknown = await client.delete(f"{KEYS}/nobody", headers=bearer(admin))

    assert (last.status_code, last.json()["code"]) == (409, "last_key")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "key_not_found")
    assert (await client.get(KEYS, headers=bearer(admin))).status_code == 200


async def test_without_keys_everybody_may_make_the_first_one(
    open_parts: OpenParts, database_url: str, open_client: Any
) -> None:
    async with open_parts(database_url) as parts, open_client(parts) as client:
        created = await client.post(KEYS, json={"name": "first", "scopes": ["keys"]})

    assert created.status_code == 201
    assert created.json()["created_by"] == ""


async def test_a_revocation_holds_in_other_processes_at_once(
    client: httpx2.AsyncClient, make_key: MakeKey, other_parts: ApiParts, open_client: Any, until: Any
) -> None:
    admin, key = await make_key(*Scope), await make_key(Scope.TASKS_READ)
    async with open_client(other_parts) as other:
        assert (await other.get(TASKS, headers=bearer(key))).status_code == 200

        await client.delete(f"{KEYS}/{id_of(key)}", headers=bearer(admin))

        async with asyncio.timeout(1):
            while (await other.get(TASKS, headers=bearer(key))).status_code != 401:  # noqa: ASYNC110 # a signal is on its way
                await asyncio.sleep(0)
        assert (await other.get(TASKS, headers=bearer(admin))).status_code == 200


async def test_without_a_signal_a_revocation_holds_once_the_memory_is_over(
    parts: ApiParts, client: httpx2.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    monkeypatch.setattr(cached_keys, "CACHE_SECONDS", 0.5)
    await make_key(Scope.KEYS)
    key = await make_key(Scope.TASKS_READ)
    assert (await client.get(TASKS, headers=bearer(key))).status_code == 200

    await ApiKeys(parts.database).revoke(id_of(key), NOBODY)

    async def is_refused() -> bool:
        return (await client.get(TASKS, headers=bearer(key))).status_code == 401

    await until(is_refused)


async def test_a_key_that_expires_is_remembered_no_longer_than_it_lasts(
    client: httpx2.AsyncClient, make_key: MakeKey, sql: asyncpg.Connection, until: Any
) -> None:
    """The database's clock decides, and the memory of this process ends with it."""
    key = await make_key(Scope.TASKS_READ)
    await sql.execute("UPDATE api_keys SET expires_at = clock_timestamp() + interval '1 second'")
    assert (await client.get(TASKS, headers=bearer(key))).status_code == 200

    async def is_refused() -> bool:
        return (await client.get(TASKS, headers=bearer(key))).status_code == 401

    async with asyncio.timeout(5):
        await until(is_refused)


@pytest.mark.parametrize("path", [EVENTS, f"{TASKS}/{{id}}/events"])
async def test_a_stream_is_closed_when_its_key_is_revoked(
    live_client: httpx2.AsyncClient, make_key: MakeKey, path: str
) -> None:
    admin, key = await make_key(*Scope), await make_key(Scope.TASKS_READ)
    task = (await live_client.post(TASKS, json={"name": "a task"}, headers=bearer(admin))).json()
    async with live_client.stream("GET", path.format(id=task["id"]), headers=bearer(key)) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"

        await live_client.delete(f"{KEYS}/{id_of(key)}", headers=bearer(admin))

        async with asyncio.timeout(5):
            async for _ in lines:
                pass


async def test_streams_of_other_keys_go_on(live_client: httpx2.AsyncClient, make_key: MakeKey) -> None:
    admin, key, other = await make_key(*Scope), await make_key(Scope.TASKS_READ), await make_key(Scope.TASKS_READ)
    async with live_client.stream("GET", EVENTS, headers=bearer(other)) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"

        await live_client.delete(f"{KEYS}/{id_of(key)}", headers=bearer(admin))
        created = await live_client.post(TASKS, json={"name": "a task"}, headers=bearer(admin))
        await live_client.delete(created.headers["location"], headers=bearer(admin))

        async with asyncio.timeout(10):
            assert [line async for line in _until_data(lines)]


async def _until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith("data: "):
            yield line
            return


async def test_an_open_stream_is_checked_again_without_a_signal(
    live_client: httpx2.AsyncClient, parts: ApiParts, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "RECHECK_SECONDS", 0.2)
    parts.access.forget()  # the loop begins to wait anew
    await make_key(Scope.KEYS)
    key = await make_key(Scope.TASKS_READ)
    async with live_client.stream("GET", EVENTS, headers=bearer(key)) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) == "retry: 2000"

        await ApiKeys(parts.database).revoke(id_of(key), NOBODY)

        async with asyncio.timeout(5):
            async for _ in lines:
                pass


async def test_whoever_waits_for_a_task_is_told_that_the_key_is_over(
    parts: ApiParts, client: httpx2.AsyncClient, make_key: MakeKey, until: Any
) -> None:
    admin, key = await make_key(*Scope), await make_key(Scope.TASKS_PAYLOAD, Scope.TASKS_WRITE)
    task = (await client.post(TASKS, json={"name": "a task"}, headers=bearer(admin))).json()
    headers = bearer(key) | {"prefer": "wait=30"}
    reading = asyncio.create_task(client.get(f"{TASKS}/{task['id']}", headers=headers))
    creating = asyncio.create_task(client.post(TASKS, json={"name": "another"}, headers=headers))

    async def are_waiting() -> bool:
        return len(parts.watch.subscriptions) == 2

    await until(are_waiting)
    await client.delete(f"{KEYS}/{id_of(key)}", headers=bearer(admin))

    async with asyncio.timeout(5):
        read, created = await reading, await creating
    assert read.status_code == 401
    assert created.status_code == 201  # it is stored, and that is what it says


async def test_too_many_wrong_keys_from_an_address_are_not_looked_at_and_a_known_one_is(
    client: httpx2.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unused = await make_key(Scope.TASKS_READ), await make_key(Scope.TASKS_READ)
    assert (await client.get(TASKS, headers=bearer(known))).status_code == 200

    wrong = [
        await client.get(TASKS, headers=bearer(str(KeyText.new()))) for _ in range(failed_attempts.ATTEMPTS_MAX + 1)
    ]
    refused = await client.get(TASKS, headers=bearer(unused))
    taken = await client.get(TASKS, headers=bearer(known))
    without = await client.get(TASKS)
    health = await client.get("/health/ready", headers=bearer(unused))
    monkeypatch.setattr(failed_attempts, "WINDOW_SECONDS", 0.0)
    later = await client.get(TASKS, headers=bearer(unused))

    assert [answer.status_code for answer in wrong] == [401] * failed_attempts.ATTEMPTS_MAX + [429]
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_failed_attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (taken.status_code, without.status_code) == (200, 401)
    assert health.json()["checks"] == {}
    assert later.status_code == 200


async def test_the_memory_of_a_known_key_is_renewed_whoever_else_is_at_its_address(
    client: httpx2.AsyncClient, make_key: MakeKey, parts: ApiParts
) -> None:
    known = await make_key(Scope.TASKS_READ)
    assert (await client.get(TASKS, headers=bearer(known))).status_code == 200
    for _ in range(failed_attempts.ATTEMPTS_MAX + 1):
        await client.get(TASKS, headers=bearer("wrong"))

    parts.access.forget()

    assert (await client.get(TASKS, headers=bearer(known))).status_code == 200


async def test_while_the_database_is_away_a_known_key_is_taken_and_another_is_a_503(
    client: httpx2.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unused = await make_key(Scope.TASKS_READ), await make_key(Scope.TASKS_READ)
    assert (await client.get("/api/v1/version", headers=bearer(known))).status_code == 200

    async def away(*_: Any) -> None:
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(ApiKeys, "find", away)
    taken = await client.get("/api/v1/version", headers=bearer(known))
    refused = await client.get("/api/v1/version", headers=bearer(unused))

    assert taken.status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) > 0


async def test_many_requests_at_once_share_one_look_up(
    client: httpx2.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, looked_up = await make_key(Scope.TASKS_READ), 0
    ask = CachedKeys._ask

    async def counted(*given: Any) -> Any:
        nonlocal looked_up
        looked_up += 1
        return await ask(*given)

    monkeypatch.setattr(CachedKeys, "_ask", counted)
    answers = await asyncio.gather(*(client.get(TASKS, headers=bearer(key)) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert looked_up == 1


async def test_the_use_of_a_key_is_noted(client: httpx2.AsyncClient, make_key: MakeKey, until: Any) -> None:
    admin = await make_key(Scope.KEYS)

    async def is_noted() -> bool:
        answer = await client.get(KEYS, headers=bearer(admin))
        return answer.json()["items"][0]["last_used_at"] is not None

    await until(is_noted)


async def test_keys_and_acts_are_listed_by_whoever_may(client: httpx2.AsyncClient, make_key: MakeKey) -> None:
    operator = await make_key(Scope.OPERATE)
    for _ in range(4):
        await make_key(Scope.TASKS_READ)

    read, cursor = [], None
    for _ in range(3):
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/audit", params=params, headers=bearer(operator))).json()
        read += [act["id"] for act in page["items"]]
        cursor = page["next_cursor"]
    wrong = await client.get("/api/v1/audit", params={"curser": 1}, headers=bearer(operator))

    assert (len(read), len(set(read)), cursor) == (5, 5, None)
    assert read == sorted(read, reverse=True)
    assert wrong.status_code == 422


async def test_listening_that_the_library_has_ended_begins_again(
    parts: ApiParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "RECHECK_SECONDS", 0.01)
    begun = asyncio.Event()
    listen, calls = parts.signals.listen, 0

    async def fail_once(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncio.CancelledError
        begun.set()
        return await listen(*given)

    monkeypatch.setattr(parts.signals, "listen", fail_once)
    async with access_module.open_access(parts.settings, parts.database, parts.signals), asyncio.timeout(5):
        await begun.wait()

    assert calls == 2
