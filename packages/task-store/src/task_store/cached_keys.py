"""Tells who holds a key, from memory where that was asked of late.

**Invariants**

- What `cached` says is no older than `CACHE_SECONDS`, nor than the last `forget`, and never beyond the time at which
  the key expires. A look-up that had begun before `forget` is not kept.
- A text that nobody holds costs what one costs whose key was revoked or has expired: a look-up and a comparison.
- Memory is bounded: callers cannot fill it with texts of their own.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from task_contracts import KeyText, Scope, all_scopes, limits
from task_store.api_keys import ApiKeys, FoundKey, key_hash
from task_store.database import Database
from task_store.errors import StoreError

CACHE_SECONDS = 30.0
"""How long an answer of the database is used again: so long a key may be taken after it was revoked."""
_UNKNOWN_SECONDS = 5.0
"""How long a text that is no key is remembered as such."""
_UNKNOWN_MAX = 10_000
_NOTED_SECONDS = 60.0
"""How often the use of a key is written down."""
_NO_KEY = "-"
"""The id of no key."""
_NO_HASH = key_hash(b"")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds a key: its id, whom it acts for, and what it may do, with the scopes that its own contain."""

    key_id: str | None
    owner: str
    scopes: frozenset[Scope]


class PresentedKey(NamedTuple):
    """What a caller has presented: the hash of the text, and the id that it names; that of no key where it names none.

    The text itself is kept nowhere.
    """

    secret_hash: bytes
    id: str

    @classmethod
    def of(cls, text: bytes) -> PresentedKey:
        """Return what a text presents, whatever it is."""
        try:
            key_id = KeyText.parse(text.decode("latin-1")).id
        except ValueError:
            key_id = _NO_KEY
        return cls(key_hash(text), key_id)


@dataclass(slots=True)
class _Known:
    caller: Caller
    until: float
    """When it is to be looked up again."""
    expires_at: float
    noted_at: float


class CachedKeys:
    """The keys, as this process knows them. Open it by `async with`, and use it on one event loop.

    Args:
        keys: where they are looked up.

    """

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys
        self._known: dict[bytes, _Known] = {}
        self._unknown_until: dict[bytes, float] = {}
        self._under_way: dict[bytes, asyncio.Task[Caller | None]] = {}
        """Those that a new call joins, by the hash of the text."""
        self._looking: set[asyncio.Task[Caller | None]] = set()
        self._noting: set[asyncio.Task[None]] = set()
        self._forgotten = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is under way."""
        pending = [*self._looking, *self._noting]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    def cached(self, secret_hash: bytes) -> Caller | None:
        """Return who holds the text of this hash, if that is known and still good."""
        known = self._known.get(secret_hash)
        return known.caller if known is not None and time.monotonic() < known.until else None

    def was_valid(self, secret_hash: bytes) -> bool:
        """Return whether the text of this hash was that of a valid key when it was last looked up."""
        return secret_hash in self._known

    def last_known(self, secret_hash: bytes) -> Caller | None:
        """Return who held the text of this hash when it was last looked up, unless the key has expired since."""
        known = self._known.get(secret_hash)
        return known.caller if known is not None and time.monotonic() < known.expires_at else None

    async def find(self, presented: PresentedKey) -> Caller | None:
        """Return who holds a key, or None where it is no key, has expired or was revoked.

        Concurrent calls for one text share one look-up.

        Raises:
            StoreError: it had to be looked up, and the database did not answer.

        """
        caller = self.cached(presented.secret_hash)
        if caller is not None:
            return caller
        if time.monotonic() < self._unknown_until.get(presented.secret_hash, -math.inf):
            return None
        return await self.look_up(presented)

    async def look_up(self, presented: PresentedKey) -> Caller | None:
        """Do as `find`, by asking the database even where something is known."""
        running = self._under_way.get(presented.secret_hash)
        if running is None:
            running = asyncio.create_task(self._ask(presented))
            self._under_way[presented.secret_hash] = running
            self._looking.add(running)
            running.add_done_callback(lambda task: self._end(presented.secret_hash, task))
        return await asyncio.shield(running)  # others may wait for it too

    def forget(self) -> None:
        """Look every key up again before it is next taken: one was revoked."""
        self._forgotten += 1
        self._under_way = {}  # whoever asks from now on asks anew
        for known in self._known.values():
            known.until = -math.inf

    def _end(self, secret_hash: bytes, task: asyncio.Task[Caller | None]) -> None:
        self._looking.discard(task)
        if self._under_way.get(secret_hash) is task:
            del self._under_way[secret_hash]
        if not task.cancelled():
            task.exception()  # those who wait are told it; where nobody waits any more, asyncio would log it

    async def _ask(self, presented: PresentedKey) -> Caller | None:
        began_at, forgotten = time.monotonic(), self._forgotten
        found = await self._keys.find(presented.id)
        is_same = hmac.compare_digest(presented.secret_hash, _NO_HASH if found is None else found.secret_hash)
        if found is None or not is_same or not found.is_valid:
            self._known.pop(presented.secret_hash, None)
            self._note_unknown(presented.secret_hash, began_at)
            return None
        caller = Caller(found.id, found.owner, all_scopes(found.scopes))
        self._keep(presented.secret_hash, found, caller, began_at, is_fresh=forgotten == self._forgotten)
        return caller

    def _keep(self, secret_hash: bytes, found: FoundKey, caller: Caller, began_at: float, *, is_fresh: bool) -> None:
        expires_at = began_at + (math.inf if found.remaining_seconds is None else found.remaining_seconds)
        until = min(began_at + CACHE_SECONDS, expires_at) if is_fresh else -math.inf
        before = self._known.pop(secret_hash, None)
        if len(self._known) >= limits.API_KEYS_MAX:
            del self._known[next(iter(self._known))]  # the one that was looked up the longest ago
        known = _Known(caller, until, expires_at, before.noted_at if before else -math.inf)
        self._known[secret_hash] = known
        if began_at >= known.noted_at + _NOTED_SECONDS:
            known.noted_at = began_at
            noting = asyncio.create_task(self._note_use(found.id))
            self._noting.add(noting)
            noting.add_done_callback(self._noting.discard)

    def _note_unknown(self, secret_hash: bytes, now: float) -> None:
        self._unknown_until.pop(secret_hash, None)
        if len(self._unknown_until) >= _UNKNOWN_MAX:
            del self._unknown_until[next(iter(self._unknown_until))]
        self._unknown_until[secret_hash] = now + _UNKNOWN_SECONDS

    async def _note_use(self, key_id: str) -> None:
        with suppress(StoreError):  # the next use is noted again
            await self._keys.note_use(key_id)


@asynccontextmanager
async def open_scopes(url: str) -> AsyncIterator[Callable[[bytes], Awaitable[frozenset[Scope]]]]:
    """Open what says which scopes the key with a text has, over a connection of its own; none for what is no key.

    While the database does not answer, a key that was valid when it was last looked up still has its scopes, since
    metrics are read just then; of another one StoreError is raised. It hears of no revocation: that holds after
    `CACHE_SECONDS`.

    Args:
        url: as for `Database`. Nothing is connected before the first text.

    """
    async with (
        Database(url, pool_size=1, application_name="task-metrics") as database,
        CachedKeys(ApiKeys(database)) as keys,
    ):

        async def scopes_of(text: bytes) -> frozenset[Scope]:
            presented = PresentedKey.of(text)
            try:
                caller = await keys.find(presented)
            except StoreError:
                caller = keys.last_known(presented.secret_hash)
                if caller is None:
                    raise
            return frozenset() if caller is None else caller.scopes

        yield scopes_of
