"""Keys: created and revoked with their acts in the audit, whoever else does so; one is always left to create others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from task_contracts import ApiKeyCreate, AuditAction, KeyText, Scope, limits
from task_store import (
    ApiKeys,
    Audit,
    AuditContext,
    Database,
    DatabaseUnavailableError,
    Refusal,
    Revocation,
    open_scopes,
)

OPERATOR = AuditContext("operator", "request-1")
ALL = frozenset(Scope)


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


async def put(keys: ApiKeys, *scopes: Scope, expires_at: datetime | None = None) -> str:
    text = KeyText.new()
    asked = ApiKeyCreate(name="a key", scopes=frozenset(scopes or ALL), expires_at=expires_at)
    await keys.create(text, asked, OPERATOR)
    return text.id


async def acts(database: Database) -> list[tuple[str, str, str | None]]:
    entries, _ = await Audit(database).page(items=200)
    return [(entry.action, entry.actor, entry.target) for entry in entries]


async def test_created_key_is_listed_without_its_secret_and_written_into_the_audit(
    keys: ApiKeys, database: Database, table: Any
) -> None:
    text = KeyText.new()
    asked = ApiKeyCreate(name="billing, production", owner="billing", scopes=frozenset({Scope.TASKS_WRITE}))

    created = await keys.create(text, asked, OPERATOR)

    assert [created] == await keys.list()
    assert text.secret not in repr(created)
    row = await table.connection.fetchrow("SELECT * FROM api_keys")
    assert text.secret not in repr(tuple(row))
    assert (row["id"], row["owner"], row["created_by"]) == (text.id, "billing", "operator")
    assert await acts(database) == [(AuditAction.CREATE_KEY, "operator", text.id)]


async def test_key_without_an_owner_belongs_to_itself(keys: ApiKeys) -> None:
    key_id = await put(keys)

    found = await keys.find(key_id)

    assert found is not None
    assert found.owner == key_id


async def test_whether_a_key_has_expired_is_decided_by_the_clock_of_the_database(
    keys: ApiKeys, database: Database, table: Any
) -> None:
    asked = ApiKeyCreate(name="late", scopes=ALL, expires_at=await table.now() - timedelta(milliseconds=1))
    refused = await keys.create(KeyText.new(), asked, OPERATOR)
    soon = await put(keys, expires_at=await table.now() + timedelta(hours=1))
    valid = await keys.find(soon)
    await table.connection.execute("UPDATE api_keys SET expires_at = clock_timestamp()")
    expired = await keys.find(soon)

    assert refused is Refusal.EXPIRED
    assert valid is not None
    assert expired is not None
    assert (valid.is_valid, expired.is_valid) == (True, False)
    assert valid.remaining_seconds == pytest.approx(3600, abs=20)
    assert await acts(database) == [(AuditAction.CREATE_KEY, "operator", soon)]


async def test_valid_keys_are_bounded_and_others_do_not_count(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch, table: Any
) -> None:
    monkeypatch.setattr(limits, "API_KEYS_MAX", 2)
    first = await put(keys)
    await put(keys)

    beyond = await keys.create(KeyText.new(), ApiKeyCreate(name="third", scopes=ALL), OPERATOR)
    await keys.revoke(first, OPERATOR)
    after = await keys.create(KeyText.new(), ApiKeyCreate(name="third", scopes=ALL), OPERATOR)

    assert beyond is Refusal.TOO_MANY
    assert not isinstance(after, Refusal)


async def test_revoked_key_is_not_valid_and_a_repeat_writes_no_second_act(keys: ApiKeys, database: Database) -> None:
    await put(keys)
    key_id = await put(keys, Scope.TASKS_READ)

    outcomes = [await keys.revoke(key_id, OPERATOR) for _ in range(2)]

    assert outcomes == [Revocation.REVOKED] * 2
    found = await keys.find(key_id)
    assert found is not None
    assert not found.is_valid
    assert [action for action, _, _ in await acts(database)].count(AuditAction.REVOKE_KEY) == 1


async def test_unknown_key_is_no_act(keys: ApiKeys, database: Database) -> None:
    assert await keys.revoke("nobody", OPERATOR) is Revocation.UNKNOWN
    assert await acts(database) == []


async def test_last_key_that_can_create_others_stays_and_one_that_expires_does_not_count(
    keys: ApiKeys, table: Any
) -> None:
    last = await put(keys)
    await put(keys, Scope.TASKS_READ)
    expiring = await put(keys, Scope.KEYS, expires_at=await table.now() + timedelta(hours=1))

    assert await keys.revoke(last, OPERATOR) is Revocation.LAST
    assert await keys.revoke(expiring, OPERATOR) is Revocation.REVOKED
    found = await keys.find(last)
    assert found is not None
    assert found.is_valid


async def test_of_many_revocations_at_once_one_key_is_left(keys: ApiKeys, other_database: Database, table: Any) -> None:
    ids = [await put(keys) for _ in range(8)]
    others = ApiKeys(other_database)

    outcomes = await asyncio.gather(
        *((keys if n % 2 else others).revoke(key_id, OPERATOR) for n, key_id in enumerate(ids))
    )

    assert sorted(outcomes) == [Revocation.LAST] + [Revocation.REVOKED] * 7
    assert await table.connection.fetchval("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL") == 1


async def test_two_revocations_that_wait_for_one_another_leave_one_key(
    keys: ApiKeys,
    other_database: Database,
    connect: Callable[[], Awaitable[Any]],
    waiting_for_lock: Callable[[int], Awaitable[None]],
) -> None:
    """Both have their snapshots, in which both keys are valid, before either is revoked."""
    one, two = [await put(keys) for _ in range(2)]
    blocker = await connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM api_keys FOR UPDATE")
        revoking = [
            asyncio.create_task(keys.revoke(one, OPERATOR)),
            asyncio.create_task(ApiKeys(other_database).revoke(two, OPERATOR)),
        ]
        await waiting_for_lock(2)

    assert sorted(await asyncio.gather(*revoking)) == [Revocation.LAST, Revocation.REVOKED]


async def test_two_revocations_of_one_key_at_once_both_say_that_it_is_revoked(
    keys: ApiKeys,
    database: Database,
    other_database: Database,
    connect: Callable[[], Awaitable[Any]],
    waiting_for_lock: Callable[[int], Awaitable[None]],
) -> None:
    await put(keys)
    one = await put(keys)
    blocker = await connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM api_keys FOR UPDATE")
        revoking = [asyncio.create_task(ApiKeys(of).revoke(one, OPERATOR)) for of in (database, other_database)]
        await waiting_for_lock(2)

    assert await asyncio.gather(*revoking) == [Revocation.REVOKED] * 2
    assert [action for action, _, _ in await acts(database)].count(AuditAction.REVOKE_KEY) == 1


async def test_use_is_noted_at_most_once_a_minute(keys: ApiKeys, table: Any) -> None:
    key_id = await put(keys)
    query = "SELECT last_used_at FROM api_keys"

    await keys.note_use(key_id)
    first = await table.connection.fetchval(query)
    await keys.note_use(key_id)
    second = await table.connection.fetchval(query)
    await table.connection.execute("UPDATE api_keys SET last_used_at = last_used_at - interval '1 minute'")
    await keys.note_use(key_id)

    assert first == second
    assert await table.connection.fetchval(query) > first


async def test_scope_of_a_newer_version_gives_nothing_and_breaks_nothing(keys: ApiKeys, table: Any) -> None:
    key_id = await put(keys, Scope.TASKS_READ)
    await table.connection.execute("UPDATE api_keys SET scopes = scopes || '{tasks:fly}'")

    found = await keys.find(key_id)

    assert found is not None
    assert found.scopes == {Scope.TASKS_READ}
    assert [key.scopes for key in await keys.list()] == [[Scope.TASKS_READ]]


async def test_audit_is_read_page_by_page_newest_first_and_filtered(keys: ApiKeys, database: Database) -> None:
    ids = [await put(keys) for _ in range(5)]
    await keys.revoke(ids[0], AuditContext("another"))
    audit = Audit(database)

    pages, after = [], None
    while True:
        entries, after = await audit.page(items=2, after=after)
        pages.append(entries)
        if after is None:
            break

    listed = [entry for page in pages for entry in page]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [entry.target for entry in listed] == [ids[0], *reversed(ids)]
    assert listed == sorted(listed, key=lambda entry: entry.id, reverse=True)
    assert (listed[0].request_id, listed[1].request_id) == (None, "request-1")
    assert all(entry.id.version == 7 for entry in listed)
    of_another, _ = await audit.page(items=200, actor="another")
    of_kind, _ = await audit.page(items=200, action=AuditAction.CREATE_KEY)
    assert [entry.target for entry in of_another] == [ids[0]]
    assert len(of_kind) == 5


async def test_id_of_an_act_has_the_time_of_the_database(keys: ApiKeys, database: Database) -> None:
    await put(keys)

    ((entry,), _) = await Audit(database).page(items=1)

    milliseconds = entry.id.int >> 80
    assert datetime.fromtimestamp(milliseconds / 1000, UTC) == pytest.approx(entry.at, abs=timedelta(milliseconds=2))


async def test_scopes_of_a_key_are_told_to_whoever_shows_metrics(keys: ApiKeys, database: Database) -> None:
    text = KeyText.new()
    await keys.create(text, ApiKeyCreate(name="scraper", scopes=frozenset({Scope.METRICS})), OPERATOR)

    async with open_scopes(database.url) as scopes_of:
        assert await scopes_of(str(text).encode()) == {Scope.METRICS}
        assert await scopes_of(str(KeyText.new()).encode()) == frozenset()
    async with open_scopes("postgresql://127.0.0.1:1/tasks") as scopes_of:
        with pytest.raises(DatabaseUnavailableError):
            await scopes_of(str(text).encode())
