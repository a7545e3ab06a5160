"""The exceptions that a handler raises to say how its attempt ended.

The child process of a handler imports this module, so it does not import the store: that would double the child's
start time.
"""

from __future__ import annotations

from task_contracts import ErrorCode


class Fail(Exception):  # noqa: N818 # says how an attempt ended, is not an error of the worker
    """The task cannot succeed: it FAILs now, even if attempts are left.

    Args:
        message: a sentence for people; it is stored with the task.
        code: a stable word for programs; `failed` if left out.

    """

    def __init__(self, message: str, *, code: str = ErrorCode.FAILED) -> None:
        super().__init__(message)
        self.message = str(message)
        self.code = str(code)


class Retry(Exception):  # noqa: N818 # as above
    """The attempt failed and another one may succeed: the task is tried again, or FAILs if no attempt is left.

    Args:
        message: a sentence for people; it is stored with the task.
        after_seconds: how long to wait before the next attempt; the usual back-off if left out.
        code: a stable word for programs; `retry` if left out.

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
    """It is too early: the task is given back, and claimed again after `after_seconds`. This is not a failure."""

    def __init__(self, *, after_seconds: float) -> None:
        super().__init__(f"snooze for {after_seconds} s")
        self.after_seconds = float(after_seconds)


class TaskCancelled(BaseException):  # like asyncio's CancelledError: passes through `except Exception`
    """The code should end: raised by `Context.raise_if_stopped`, and by `Context.checkpoint` where it was not stored.

    Code that catches it should clean up and raise it again.
    """


class UnstorableCheckpointError(ValueError):
    """What the handler wants to keep cannot be stored. `reason` names the place in it and the class.

    A repeat with the same value fails again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the checkpoint cannot be stored: {reason}")
        self.reason = reason
