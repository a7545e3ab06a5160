"""Says which code blocks the event loop: a handler that computes, or waits without `await`, stops all others."""

from __future__ import annotations

import asyncio
import threading
import time

from task_runtime import get_logger, owner_of
from task_worker.lease.in_flight import Attempt
from task_worker.stacks import stack_of

_log = get_logger(__name__)
_EVERY_SECONDS = 0.25
_BLOCKED_SECONDS = 1.0
_SPARE_SECONDS = 0.2
"""A process that was frozen as a whole answers within it."""


class LoopWatch:
    """Asks the event loop four times a second for an answer, from a thread of its own.

    Where none came for a second, it logs once what the loop runs, the attempt and the innermost frames; and, once the
    loop answers, how long that took.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._looped = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch the running event loop, whose thread calls this."""
        self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_SECONDS):
            asked_at, answered = time.monotonic(), threading.Event()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed
            if answered.wait(_BLOCKED_SECONDS - _SPARE_SECONDS) or answered.wait(_SPARE_SECONDS):
                continue
            blocked_by = self._running()
            stack = stack_of(self._looped)
            _log.warning("event_loop_blocked", **blocked_by, seconds=_BLOCKED_SECONDS, stack=stack)
            while not answered.wait(_EVERY_SECONDS):
                if self._stopped.is_set():
                    return
            _log.info("event_loop_free", **blocked_by, seconds=round(time.monotonic() - asked_at, 1))

    def _running(self) -> dict[str, object]:
        """Return what the loop runs: the attempt whose code it is, also in an asyncio task that this code has begun."""
        attempt = owner_of(asyncio.current_task(self._loop))
        if not isinstance(attempt, Attempt):
            return {"type": None}
        return {"type": attempt.claim.type, "task_id": str(attempt.claim.id), "attempt": attempt.claim.attempt}
