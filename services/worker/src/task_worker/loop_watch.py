"""Says which code blocks the event loop: a handler that computes, or waits without `await`, stops all others."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback

from task_runtime import get_logger

HANDLER = "handler "
"""The name of the asyncio task of a handler begins with it; the type follows."""

_log = get_logger(__name__)
_EVERY_SECONDS = 0.25
_BLOCKED_SECONDS = 1.0
_SPARE_SECONDS = 0.2
"""A process that was frozen as a whole answers within it."""
_FRAMES = 8


class LoopWatch:
    """Asks the event loop four times a second for an answer, from a thread of its own.

    Where none came for a second, it logs once what the loop runs: the type of the handler, and the innermost frames.
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
            answered = threading.Event()
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed
            if not answered.wait(_BLOCKED_SECONDS - _SPARE_SECONDS) and not answered.wait(_SPARE_SECONDS):
                self._say()
            while not answered.wait(_EVERY_SECONDS):
                if self._stopped.is_set():
                    return

    def _say(self) -> None:
        task = asyncio.current_task(self._loop)
        name = "" if task is None else task.get_name()
        frame = sys._current_frames().get(self._looped)  # noqa: SLF001 # documented, for debuggers
        stack = "" if frame is None else "".join(traceback.format_stack(frame)[-_FRAMES:])
        type_ = name.removeprefix(HANDLER) if name.startswith(HANDLER) else None
        _log.warning("event_loop_blocked", type=type_, seconds=_BLOCKED_SECONDS, stack=stack.rstrip())
