"""The one way in which tests wait for a state of other processes, which set no event of ours."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

SECONDS = 60.0
"""How long anything may take that has no deadline of its own to prove."""

_PAUSE_SECONDS = 0.02
_PAUSE_SECONDS_MAX = 0.25
_PAUSE_SHARE = 0.05
"""Asking costs the machine something, so the longer it takes, the less often."""


async def eventually(question: Callable[[], Any], what: str, *, seconds: float = SECONDS) -> Any:
    """Ask, or await what is asked, until the answer is true, and return it.

    Raises:
        AssertionError: it was not within `seconds`; says `what` was waited for, and the last answer.

    """
    began = time.monotonic()
    while True:
        asked = question()
        answer = await asked if inspect.isawaitable(asked) else asked
        if answer:
            return answer
        elapsed = time.monotonic() - began
        if elapsed > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what} (last answer: {answer!r:.500})")
        await asyncio.sleep(min(max(_PAUSE_SECONDS, elapsed * _PAUSE_SHARE), _PAUSE_SECONDS_MAX))


def until(question: Callable[[], Any], what: str, *, seconds: float = SECONDS) -> Any:
    """Do as `eventually`, for a test that has no event loop."""
    return asyncio.run(eventually(question, what, seconds=seconds))
