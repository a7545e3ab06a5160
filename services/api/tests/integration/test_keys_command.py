"""`task-api keys`, as it is typed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import httpx2
import pytest

from task_api import keys_command
from task_api.parts import ApiParts
from task_api.settings import ApiSettings
from task_contracts import KeyText

OpenParts = Callable[..., AbstractAsyncContextManager[ApiParts]]
Typed = Callable[..., Awaitable[tuple[int, str, str]]]
NOWHERE = "postgresql://127.0.0.1:1/tasks"


@pytest.fixture
async def parts(open_parts: OpenParts, database_url: str) -> AsyncIterator[ApiParts]:
    async with open_parts(database_url, auth="keys") as opened:
        yield opened


@pytest.fixture
def typed(database_url: str) -> Typed:
    """Type a command; return its exit code, and what it writes on stdout and stderr."""

    async def run(*words: str, url: str = database_url) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "task_api", "keys", *words),
            env={**os.environ, "TASK_DATABASE_URL": url, "TASK_BROKER_URL": "memory://"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


async def test_the_first_key_is_made_on_the_database_and_opens_the_api(
    typed: Typed, client: httpx2.AsyncClient, sql: asyncpg.Connection
) -> None:
    code, out, err = await typed("create", "admin", "--scope", "all", "--owner", "operators")

    text = out.removesuffix("\n")
    assert code == 0
    assert str(KeyText.parse(text)) == text
    assert "keep its text" in err
    assert KeyText.parse(text).secret not in err
    answer = await client.get("/api/v1/keys", headers={"Authorization": f"Bearer {text}"})
    assert [(key["owner"], key["created_by"]) for key in answer.json()["items"]] == [("operators", "command")]
    assert await sql.fetchval("SELECT actor || ' ' || action FROM audit_log") == "command keys.create"


async def test_keys_are_listed_and_revoked_and_the_last_one_stays(typed: Typed) -> None:
    _, out, _ = await typed("create", "admin", "--scope", "keys,operate")
    _, other, _ = await typed("create", "reader", "--scope", "tasks:read", "--expires-at", "2999-01-01T00:00:00Z")
    last_id, reader_id = KeyText.parse(out.strip()).id, KeyText.parse(other.strip()).id

    last = await typed("revoke", last_id)
    revoked = await typed("revoke", reader_id)
    unknown = await typed("revoke", "nobody")
    _, listed, _ = await typed("list")

    assert (last[0], "the last one" in last[2]) == (1, True)
    assert (revoked[0], "for up to 30 s more" in revoked[2]) == (0, True)
    assert (unknown[0], unknown[2]) == (1, "error: there is no key nobody\n")
    first, second = listed.splitlines()
    assert first.startswith(f"{last_id}  valid  keys,operate  owner {last_id}  used never  admin")
    assert second.startswith(f"{reader_id}  revoked  tasks:read")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a", "--scope", "fly"], "--scope: "),
        (["", "--scope", "keys"], "NAME: "),
        (["a", "--scope", "keys", "--expires-at", "tomorrow"], "--expires-at: must be a date and time"),
        (["a", "--scope", "keys", "--expires-at", "2001-01-01T00:00:00Z"], "--expires-at: must be a time to come"),
    ],
)
async def test_a_wrong_value_is_named_in_one_line(typed: Typed, words: list[str], says: str) -> None:
    code, out, err = await typed("create", *words)

    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {says}")


async def test_a_database_that_is_away_is_one_line(typed: Typed) -> None:
    code, out, err = await typed("list", url=NOWHERE)

    assert (code, out) == (1, "")
    assert err.startswith("error: the database does not answer")


@pytest.mark.parametrize("broker", ["memory://", "amqp://127.0.0.1:1/"])
async def test_without_a_broker_nobody_is_told(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_command, "_SIGNAL_SECONDS", 0.2)

    assert not await keys_command._tell(ApiSettings(database_url=NOWHERE, broker_url=broker))
