"""The exit codes, and which one an error means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the command ended, for scripts."""

    DONE = 0
    TASK_FAILED = 1
    """The task that was waited for is FAILED or CANCELLED."""
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    """Nothing answers there, or something that is not a task service, or one that cannot work at present."""
    TIMED_OUT = 5
    CRASHED = 70
    """A fault of the command itself, with its traceback."""
    UNWRITABLE = 74
    """Stdout cannot be written: it is full, or closed."""
    STOPPED = 130
    """By Ctrl-C, or at a question."""


class CommandError(Exception):
    """The command cannot go on: a sentence for people, and its exit code.

    With `is_multiline`, the message has lines of its own, in which everything of others is escaped.
    """

    def __init__(self, code: ExitCode, message: str, *, is_multiline: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_multiline = is_multiline


def code_of(error: Exception) -> ExitCode:
    """Return the exit code of an error."""
    from task_client import ProblemError, RequestTimeoutError, TaskClientError, UnavailableError, WaitTimeoutError

    match error:
        case CommandError():
            return error.code
        case WaitTimeoutError() | RequestTimeoutError():
            return ExitCode.TIMED_OUT
        case UnavailableError():
            return ExitCode.UNREACHABLE
        case ProblemError():
            return ExitCode.REFUSED
        case TaskClientError():
            return ExitCode.UNREACHABLE
        case ValueError():
            return ExitCode.USAGE
    return ExitCode.CRASHED


def has_lines(error: Exception) -> bool:
    """Return whether the message of an error has lines of its own, in which everything of others is escaped."""
    from task_client import ProblemError

    return error.is_multiline if isinstance(error, CommandError) else isinstance(error, ProblemError)
