"""Ends the waiting of callers to whom no answer came in time.

Time counts since anybody was last answered: while many large items are stored, one after another, a turn may come late.
One timer serves all callers; a timer for each would cost as much as the rest of the call.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from task_store.errors import DatabaseUnavailableError

Answer = TypeVar("Answer")

_LONGEST_SECONDS = 30.0
"""How long a caller waits at most, however many others are answered meanwhile."""


class Patience:
    """Waits for answers. `answered_at`, by the event loop's clock, is to be set whenever anybody is answered."""

    def __init__(self) -> None:
        self.answered_at: float | None = None
        self._waiting: dict[asyncio.Future[Any], tuple[float, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, future: asyncio.Future[Answer], seconds: float) -> Answer:
        """Return the result of `future`.

        Raises:
            DatabaseUnavailableError: for `seconds` nobody was answered, or it took 30 s. The future is done then.

        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._waiting[future] = began, seconds
        if self._timer is None or self._timer.when() > began + seconds:
            self._look_again(began + seconds)
        try:
            return await future
        finally:
            del self._waiting[future]

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer, later = None, []
        for future, (began, seconds) in self._waiting.items():
            at = give_up_at(began, self.answered_at, seconds)
            if at > now:
                later.append(at)
            elif not future.done():
                future.set_exception(DatabaseUnavailableError("there was no answer in time"))
        if later:
            self._look_again(min(later))

    def _look_again(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._look)


def give_up_at(began: float, answered_at: float | None, seconds: float) -> float:
    """Return when a caller that `began` to wait gives up, given when anybody was last answered."""
    since = began if answered_at is None else max(began, answered_at)
    return min(since + seconds, began + _LONGEST_SECONDS)
