"""What a thread does now: the innermost frames of its stack, for the log."""

from __future__ import annotations

import sys
import traceback
from itertools import islice, takewhile
from types import FrameType

_FRAMES = 4
_RUNNERS = "task_worker.attempt.runners."


def stack_of(thread_id: int) -> str:
    """Return the innermost four frames of the thread, the one that runs now at the end: places and lines, no values.

    Those of what runs the handler, and further out, are left out. Empty where there is no such thread. Safe from any
    thread.
    """
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 # documented, for debuggers
    if frame is None:
        return ""
    frames = takewhile(_is_of_handler, traceback.walk_stack(frame))
    innermost_first = traceback.StackSummary.extract(islice(frames, _FRAMES))
    return "".join(reversed(innermost_first.format())).rstrip()


def _is_of_handler(at: tuple[FrameType, int]) -> bool:
    return not str(at[0].f_globals.get("__name__")).startswith(_RUNNERS)
