"""Restarts the loops of a process when they fail, and ends the process when one fails too often.

**Invariants**

- Only `aclose` cancels a loop. A `CancelledError` that comes from inside (the broker's library raises one on a frozen
  connection) is a death as any other exception is: the loop starts again.
- Every death is logged once, with its traceback.
- A loop that dies too often, or whose task somebody else cancels, makes `wait` raise, so that the process ends and does
  not run on without that loop.
- After `aclose` nothing is started any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from task_contracts import BackOff

_log = logging.getLogger(__name__)

_BACK_OFF = BackOff(first_seconds=0.1, longest_seconds=5.0)

Loop = Callable[[], Awaitable[None]]
"""Makes the coroutine of a loop. It is called once for each start."""


class LoopKeepsDyingError(Exception):
    """A loop has died too often or was cancelled, so the process should end. `name` is that of the loop."""

    def __init__(self, name: str, deaths: int) -> None:
        how = f"died {deaths} times in a short while" if deaths else "was cancelled"
        super().__init__(f"the loop {name} {how}")
        self.name = name


@dataclass(frozen=True)
class RestartPolicy:
    """How long to wait before a loop starts again, and when to give up."""

    back_off: BackOff = _BACK_OFF
    """The pause before a restart, by the number of deaths that still count."""
    deaths_max: int = 10
    """So many deaths within `window_seconds` are too many: the loop is not restarted."""
    window_seconds: float = 60
    steady_seconds: float = 30
    """Once a run of the loop has lasted so long, its earlier deaths no longer count."""


class Supervisor:
    """Runs the named loops of a process. Make it and use it on one event loop.

    Await `wait` for as long as the process should run, and `aclose` in a `finally`.
    """

    def __init__(self, restarts: RestartPolicy | None = None) -> None:
        self._restarts = restarts or RestartPolicy()
        self._running: dict[asyncio.Task[None], str] = {}
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_closing = False

    def start(self, name: str, loop: Loop, *, forever: bool = False) -> None:
        """Start a loop; `name` stands in the log.

        A loop that returns has finished. If it is meant to run `forever`, returning is a death.

        Raises:
            RuntimeError: the supervisor is closed.

        """
        if self._is_closing:
            raise RuntimeError(f"the supervisor is closed, so the loop {name} cannot start")
        task = asyncio.create_task(self._keep_running(name, loop, forever=forever), name=name)
        self._running[task] = name
        task.add_done_callback(self._note_end)

    async def wait(self) -> None:
        """Return when all loops have finished, or `aclose` has ended them.

        Cancelling this call does not stop the loops.

        Raises:
            LoopKeepsDyingError: a loop died too often, or was cancelled. The other loops run on until `aclose`.

        """
        while self._failure is None and self._running:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def aclose(self, deadline_seconds: float = 5) -> None:
        """Cancel all loops and wait until they have ended, for at most `deadline_seconds`. Safe to repeat.

        A loop that does not end in time is logged, and not waited for.
        """
        self._is_closing = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=deadline_seconds)
        for task, name in self._running.items():
            if not task.done():
                _log.error("loop_did_not_stop", extra={"loop": name, "deadline_seconds": deadline_seconds})

    async def _keep_running(self, name: str, loop: Loop, *, forever: bool) -> None:
        clock = asyncio.get_running_loop().time
        deaths: deque[float] = deque(maxlen=self._restarts.deaths_max)
        while True:
            began = clock()
            death = await _run_once(loop)
            if self._is_closing or (death is None and not forever):
                return
            death = death or RuntimeError("it returned, and is meant to run forever")
            if clock() - began >= self._restarts.steady_seconds:
                deaths.clear()
            deaths.append(clock())
            _log.error("loop_died", exc_info=death, extra={"loop": name, "deaths": len(deaths)})
            if len(deaths) == deaths.maxlen and clock() - deaths[0] <= self._restarts.window_seconds:
                raise LoopKeepsDyingError(name, len(deaths)) from death
            await asyncio.sleep(self._restarts.back_off.pause_seconds(len(deaths)))

    def _note_end(self, task: asyncio.Task[None]) -> None:
        name = self._running.pop(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()
        elif not self._is_closing:
            self._failure = self._failure or LoopKeepsDyingError(name, 0)
        self._changed.set()


async def _run_once(loop: Loop) -> BaseException | None:
    """Run the loop to its end. Returns the exception that ended it, or None if it returned."""
    try:
        await loop()
    except asyncio.CancelledError as stray:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return stray
    except Exception as error:  # noqa: BLE001 # the outermost frame of a loop: the death is logged once, and it starts again
        return error
    return None
