"""What a handler raises to say how its attempt ended.

A handler's own process imports this, so nothing here imports the store: that would double the time of its start.
"""

from __future__ import annotations

from task_contracts import ErrorCode


class Fail(Exception):  # noqa: N818 # how a handler ends its attempt, not an error of ours
    """The task cannot succeed: FAIL it now, whatever attempts are left.

    Args:
        message: a sentence for people; kept with the task.
        code: a stable word to act on, `failed` if left out.

    """

    def __init__(self, message: str, *, code: str = ErrorCode.FAILED) -> None:
        super().__init__(message)
        self.message = str(message)
        self.code = str(code)


class Retry(Exception):  # noqa: N818 # as above
    """The attempt failed and another may succeed: RETRY while attempts are left, FAIL otherwise.

    Args:
        message: a sentence for people; kept with the task.
        after_seconds: when to try again; the usual back-off if left out.
        code: a stable word to act on, `retry` if left out.

    """

    def __init__(
        self,
        message: str = "the handler asked for another attempt",
        *,
        after_seconds: float | None = None,
        code: str = ErrorCode.RETRY,
    ) -> None:
        super().__init__(message)
        self.message = str(message)
        self.after_seconds = None if after_seconds is None else float(after_seconds)
        self.code = str(code)


class Snooze(Exception):  # noqa: N818 # as above
    """It is too early: give the task back and claim it again after `after_seconds`. Counts as no failure."""

    def __init__(self, *, after_seconds: float) -> None:
        super().__init__(f"snooze for {after_seconds} s")
        self.after_seconds = float(after_seconds)


class TaskCancelled(BaseException):  # like asyncio's CancelledError: passes through `except Exception`
    """Raised by `Context.raise_if_stopped`: whoever catches it should tidy up and let it pass."""
