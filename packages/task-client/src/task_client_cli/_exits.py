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
    STOPPED = 130
    """By Ctrl-C, or at a question."""


class CommandError(Exception):
    """The command cannot go on: a sentence for people, and its exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: Exception) -> ExitCode | None:
    """Return the exit code of an error; None for a fault of the command itself."""
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
    return None
