"""Decides how the end of one task is waited for. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from task_client import _calls as calls
from task_client._errors import TaskClientError, WaitTimeoutError
from task_client._flows import ask_once
from task_client._repeats import Patience, RepeatPolicy
from task_client._steps import Flow, Wait
from task_contracts import BackOff, Task, TaskState

_INTERVALS = BackOff(first_seconds=0.05, longest_seconds=1.0, factor=1.5)
"""Between two looks at a task, where the service does not hold its answers back."""
_HELD_SECONDS_MAX = 30
"""How long the service is asked to hold an answer back. Many proxies give up a request after 60 s."""


def wait(
    task_id: UUID, timeout_seconds: float, repeats: RepeatPolicy, clock: Callable[[], float] = time.monotonic
) -> Flow[Task]:
    """Read a task's state until it is terminal, then read the task. The service holds each answer back meanwhile.

    Where it does not (an older one, the last second), it is asked at growing intervals. A request that fails while it
    is held back (a proxy gave up) is followed by shorter ones. Trouble is gone through as `Patience` says.

    Raises:
        WaitTimeoutError: it is not terminal in time. Its cause is the last error, if one came after the last state.
        TaskClientError: an error that does not pass by itself, or the service was never reached.

    """
    began = clock()
    end = began + timeout_seconds
    patience = Patience(repeats)
    last: TaskState | None = None
    held_seconds_max = _HELD_SECONDS_MAX
    looks = 0
    while True:
        looks += 1
        looked_at = clock()
        trouble: TaskClientError | None = None
        try:
            held_seconds = min(held_seconds_max, max(0, int(end - looked_at)))
            last = yield from ask_once(calls.status(task_id, held_seconds), TaskState, end - clock())
            if last.status.is_terminal:
                last = task = yield from ask_once(calls.get(task_id), Task, end - clock())
                if task.status.is_terminal:  # else a caller asked for a RERUN in between
                    return task
            patience.answered()
            pause = _INTERVALS.pause_seconds(looks) - (clock() - looked_at)
        except TaskClientError as error:
            trouble, pause = error, patience.failed(error)
            held_seconds_max = max(1, held_seconds_max // 2)
        left = end - clock()
        if left <= 0:
            raise WaitTimeoutError((task_id,), timeout_seconds, last) from trouble
        if pause > 0:
            yield Wait(min(pause, left))
