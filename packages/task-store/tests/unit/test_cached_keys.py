"""What a process remembers of keys: no longer than it may, and nothing that was said before a revocation."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from task_contracts import KeyText, Scope
from task_store import ApiKeys, CachedKeys, FoundKey, PresentedKey, cached_keys, key_hash


class Keys:
    """The keys of the database, each answered once the test lets it."""

    def __init__(self) -> None:
        self.found: dict[str, FoundKey] = {}
        self.looked_up: list[str] = []
        self.noted: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def put(self, text: KeyText, *, is_valid: bool = True, remaining_seconds: float | None = None) -> PresentedKey:
        stored = str(text).encode()
        self.found[text.id] = FoundKey(
            text.id, "owner", frozenset({Scope.TASKS_PAYLOAD}), key_hash(stored), is_valid, remaining_seconds
        )
        return PresentedKey.of(stored)

    async def find(self, key_id: str) -> FoundKey | None:
        self.looked_up.append(key_id)
        found = self.found.get(key_id)
        await self.may_answer.wait()
        return found

    async def note_use(self, key_id: str) -> None:
        self.noted.append(key_id)


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cached_keys, "time", clock)
    return clock


def cached(keys: Keys) -> CachedKeys:
    return CachedKeys(cast(ApiKeys, keys))


async def test_an_answer_is_used_again_for_so_long_and_brings_what_its_scopes_contain(keys: Keys, clock: Clock) -> None:
    presented = keys.put(KeyText.new())
    async with cached(keys) as known:
        caller = await known.find(presented)
        clock.now += cached_keys.CACHE_SECONDS - 0.1
        remembered = known.cached(presented.secret_hash)
        clock.now += 0.1

        assert caller is not None
        assert caller.scopes == {Scope.TASKS_PAYLOAD, Scope.TASKS_READ}
        assert remembered == caller
        assert known.cached(presented.secret_hash) is None
        assert known.was_valid(presented.secret_hash)


async def test_a_key_that_expires_is_not_remembered_beyond_that(keys: Keys, clock: Clock) -> None:
    presented = keys.put(KeyText.new(), remaining_seconds=3.0)
    async with cached(keys) as known:
        await known.find(presented)
        clock.now += 3.0

        assert known.cached(presented.secret_hash) is None
        assert known.last_known(presented.secret_hash) is None


async def test_whoever_held_a_key_when_it_was_last_looked_up_is_known_for_when_nobody_can_be_asked(
    keys: Keys, clock: Clock
) -> None:
    presented = keys.put(KeyText.new(), remaining_seconds=3_600)
    async with cached(keys) as known:
        before = known.last_known(presented.secret_hash)
        caller = await known.find(presented)
        clock.now += 3_599
        within = known.last_known(presented.secret_hash)
        clock.now += 1

        assert (before, within) == (None, caller)
        assert known.last_known(presented.secret_hash) is None


async def test_what_was_asked_before_a_revocation_is_not_remembered_after_it(keys: Keys) -> None:
    text = KeyText.new()
    presented = keys.put(text)
    keys.may_answer.clear()
    async with cached(keys) as known:
        asking = asyncio.create_task(known.find(presented))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert keys.looked_up == [text.id]

        keys.put(text, is_valid=False)
        known.forget()
        later = asyncio.create_task(known.find(presented))
        await asyncio.sleep(0)
        keys.may_answer.set()

        assert await asking is not None  # it was asked while the key was valid
        assert await later is None
        assert known.cached(presented.secret_hash) is None
        assert await known.find(presented) is None


async def test_concurrent_calls_share_a_look_up_and_one_that_is_given_up_does_not_end_it(keys: Keys) -> None:
    presented = keys.put(KeyText.new())
    keys.may_answer.clear()
    async with cached(keys) as known:
        asking = [asyncio.create_task(known.find(presented)) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()
        keys.may_answer.set()

        assert await asking[1] == await asking[2] != None  # noqa: E711 # a Caller
        assert len(keys.looked_up) == 1


async def test_a_right_id_with_another_secret_is_no_key(keys: Keys) -> None:
    text = KeyText.new()
    keys.put(text)
    async with cached(keys) as known:
        assert await known.find(PresentedKey.of(str(KeyText(text.id, KeyText.new().secret)).encode())) is None


@pytest.mark.parametrize("text", [b"", b"hello", b"\xff\xfe", b"ts_" + b"x" * 10_000, b"ts_4hT0mB2kQx9Z_short"])
async def test_what_is_no_key_is_looked_up_all_the_same(keys: Keys, text: bytes) -> None:
    async with cached(keys) as known:
        assert await known.find(PresentedKey.of(text)) is None
        assert keys.looked_up == ["-"]


async def test_unknown_texts_are_remembered_shortly_and_fill_no_memory(
    keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_keys, "_UNKNOWN_MAX", 10)
    async with cached(keys) as known:
        for n in range(50):
            await known.find(PresentedKey.of(f"guess {n}".encode()))
        await known.find(PresentedKey.of(b"guess 49"))
        within = len(keys.looked_up)
        clock.now += 6
        await known.find(PresentedKey.of(b"guess 49"))

        assert (within, len(keys.looked_up)) == (50, 51)
        assert len(known._unknown_until) == 10
        assert known._known == {}


async def test_a_use_is_noted_once_a_minute(keys: Keys, clock: Clock) -> None:
    text = KeyText.new()
    presented = keys.put(text)
    async with cached(keys) as known:
        for _ in range(5):  # over two minutes
            await known.find(presented)
            await asyncio.sleep(0)
            clock.now += 31

        assert keys.noted == [text.id] * 3


async def test_its_end_ends_what_is_under_way(keys: Keys) -> None:
    keys.may_answer.clear()
    async with cached(keys) as known:
        asking: asyncio.Task[Any] = asyncio.create_task(known.find(PresentedKey.of(b"hello")))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.wait([asking])

    assert asking.cancelled()
