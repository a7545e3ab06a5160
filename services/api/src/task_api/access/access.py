"""Decides whose key a request has, and ends what goes on for somebody whose key is over.

**Invariants**

- A key that was revoked is taken for `CACHE_SECONDS` at most, and where the signal arrives no longer than that takes.
- What goes on (a stream, a wait) is ended within `RECHECK_SECONDS` and the time of one look-up after its key is over.
  It goes on while the database does not answer: there is nothing new to be told then.
- Whether a key is malformed, unknown, expired or revoked shows neither in the answer nor in its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from types import TracebackType
from typing import Protocol, Self

from starlette.types import Scope as AsgiScope

from task_api.access.callers import EVERYBODY
from task_api.access.failed_attempts import FailedAttempts
from task_api.problems import too_many_failed_attempts, unauthenticated
from task_api.settings import ApiSettings
from task_bus.signals import Listening, Signals
from task_contracts import SignalKind
from task_runtime import get_logger
from task_store import ApiKeys, CachedKeys, Caller, Database, PresentedKey, StoreError, key_hash

_log = get_logger(__name__)

RECHECK_SECONDS = 30.0
"""How often the keys of those for whom something goes on are looked up again."""
_AGAIN_SECONDS = 1.0
"""How soon once more, where the database did not answer."""
_BEARER = b"bearer "


class Lasting:
    """What goes on for one caller: `end` is called, and `is_over` set, once the caller's key is over."""

    def __init__(self, presented: PresentedKey | None, end: Callable[[], None]) -> None:
        self.presented = presented
        self.is_over = False
        self._end = end

    def end(self) -> None:
        """End it. Safe to repeat."""
        self.is_over = True
        self._end()


class Access(Protocol):
    """Who may call, as the application asks for it."""

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key."""

    def cached(self, scope: AsgiScope) -> Caller | None:
        """Return whose request it is, if that is known without asking anybody."""

    async def caller(self, scope: AsgiScope) -> Caller:
        """Return whose request it is.

        Raises:
            ProblemError: it has no valid key, or too many wrong ones came from its address.
            StoreError: the key had to be looked up, and the database did not answer.

        """

    def lasting(self, scope: AsgiScope, end: Callable[[], None]) -> AbstractContextManager[Lasting]:
        """Call `end` if the key of this request is over before the block ends."""

    def forget(self) -> None:
        """Look up every key again before it is next taken: one was revoked."""


class OpenAccess:
    """Everybody may do everything."""

    is_open = True

    def cached(self, scope: AsgiScope) -> Caller | None:
        """See `Access`."""
        del scope
        return EVERYBODY

    async def caller(self, scope: AsgiScope) -> Caller:
        """See `Access`."""
        del scope
        return EVERYBODY

    def lasting(self, scope: AsgiScope, end: Callable[[], None]) -> AbstractContextManager[Lasting]:
        """See `Access`."""
        del scope
        return nullcontext(Lasting(None, end))

    def forget(self) -> None:
        """See `Access`."""


class KeyAccess:
    """Whoever has a key may do what its scopes say. Open it by `async with`, and use it on one event loop.

    Args:
        keys: as this process knows them.
        signals: by which processes tell one another of revoked keys.

    """

    is_open = False

    def __init__(self, keys: CachedKeys, signals: Signals) -> None:
        self._keys = keys
        self._signals = signals
        self._failed = FailedAttempts()
        self._lasting: set[Lasting] = set()
        self._is_revoked = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen and check no more."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])

    def cached(self, scope: AsgiScope) -> Caller | None:
        """See `Access`. It costs one SHA-256 and a look-up in a dictionary: every request pays it."""
        text = _bearer(scope)
        return None if text is None else self._keys.cached(key_hash(text))

    async def caller(self, scope: AsgiScope) -> Caller:
        """See `Access`."""
        text = _bearer(scope)
        if text is None:
            raise unauthenticated()
        presented, address = PresentedKey.of(text), _address(scope)
        # A key that was valid a moment ago is no guess: somebody else at that address must not lock its holder out.
        if not self._keys.was_valid(presented.secret_hash) and (seconds := self._failed.seconds_left(address)):
            raise too_many_failed_attempts(seconds)
        caller = await self._keys.find(presented)
        if caller is None:
            self._failed.add(address)
            raise unauthenticated()
        return caller

    @contextmanager
    def lasting(self, scope: AsgiScope, end: Callable[[], None]) -> Iterator[Lasting]:
        """See `Access`."""
        text = _bearer(scope)
        one = Lasting(None if text is None else PresentedKey.of(text), end)
        self._lasting.add(one)
        try:
            yield one
        finally:
            self._lasting.discard(one)

    def forget(self) -> None:
        """See `Access`."""
        self._keys.forget()
        self._is_revoked.set()

    async def _run(self) -> None:
        # Listening begins once the broker answers, and keeps nobody waiting.
        beginning = self._begin_listening()
        try:
            is_answered = True
            while True:
                await self._until_revoked(RECHECK_SECONDS if is_answered else _AGAIN_SECONDS)
                try:
                    is_answered = await self._recheck()
                except Exception:  # noqa: BLE001 # the outermost frame of a loop: it logs once, and the loop goes on
                    _log.exception("keys_not_checked")
                    is_answered = False
                if beginning.done() and (beginning.cancelled() or beginning.exception() is not None):
                    beginning = self._begin_listening()  # the broker's library has ended it
        finally:
            if not beginning.done():
                beginning.cancel()
            (listening,) = await asyncio.gather(beginning, return_exceptions=True)
            if not isinstance(listening, BaseException):
                await listening.cancel()

    def _begin_listening(self) -> asyncio.Task[Listening]:
        return asyncio.create_task(self._signals.listen({SignalKind.REVOKED}, lambda _: self.forget()))

    async def _until_revoked(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._is_revoked.wait()
        except TimeoutError:
            pass
        self._is_revoked.clear()

    async def _recheck(self) -> bool:
        """Look up the key of each for whom something goes on; return whether the database has answered for all."""
        is_answered = True
        for presented in {one.presented for one in self._lasting}:
            try:
                is_over = presented is None or await self._keys.look_up(presented) is None
            except (StoreError, TimeoutError):
                is_answered = False
                continue
            for one in [one for one in self._lasting if is_over and one.presented == presented]:
                one.end()
        return is_answered


@asynccontextmanager
async def open_access(settings: ApiSettings, database: Database, signals: Signals) -> AsyncIterator[Access]:
    """Open what decides who may call, as the settings say: everybody, or whoever has a key."""
    if not settings.has_keys:
        yield OpenAccess()
        return
    async with CachedKeys(ApiKeys(database)) as keys, KeyAccess(keys, signals) as access:
        yield access


def _bearer(scope: AsgiScope) -> bytes | None:
    """Return the text of the key that a request has; None without one, or where it is sent in another way."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else None
    return None


def _address(scope: AsgiScope) -> str:
    return (scope.get("client") or ("",))[0]
