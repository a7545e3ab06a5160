"""What can go wrong, as classes that a caller treats differently.

    TaskClientError
    ├── NoAnswerError               nothing came back
    │   ├── ConnectionFailedError   the service could not be reached, or hung up
    │   └── RequestTimeoutError     it did not answer in time
    ├── ProblemError                the service says what is wrong (RFC 9457)
    │   ├── NotFoundError           404
    │   ├── ConflictError           409
    │   │   └── TaskFinishedError   the task has come to its end, and what was asked can no longer happen
    │   ├── ValidationFailedError   422: `errors` names the fields
    │   └── UnavailableError        503: `retry_after` says when to try again
    ├── UnexpectedAnswerError       an answer that is not the service's, such as a proxy's page
    └── WaitTimeoutError            a task did not come to its end in time

Each says with `is_repeat_safe` whether asking the same again cannot do anything twice, and with `is_transient` whether
it may well succeed later.
"""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from task_contracts import FieldProblem, Problem, ProblemCode, TaskState

_GATEWAY_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


class TaskClientError(Exception):
    """Base of everything that this package raises."""

    is_repeat_safe: bool = True
    is_transient: bool = False
    retry_after: float | None = None
    """Seconds after which the other side asks to be tried again, if it said so."""


class NoAnswerError(TaskClientError):
    """Nothing came back. Where `is_repeat_safe` is false, what was asked may have been done."""

    is_transient = True

    def __init__(self, reason: str, is_repeat_safe: bool) -> None:
        super().__init__(reason, is_repeat_safe)
        self.reason = reason
        self.is_repeat_safe = is_repeat_safe

    def __str__(self) -> str:
        return self.reason if self.is_repeat_safe else f"{self.reason}; what was asked may have been done"


class ConnectionFailedError(NoAnswerError):
    """The service could not be reached, or hung up."""


class RequestTimeoutError(NoAnswerError):
    """The service did not answer in time."""


class ProblemError(TaskClientError):
    """The service refused, and says why. Branch on `code` (`task_contracts.ProblemCode`), show `detail`."""

    def __init__(self, problem: Problem, retry_after: float | None, is_repeat_safe: bool) -> None:
        super().__init__(problem, retry_after, is_repeat_safe)
        self.problem = problem
        self.retry_after = retry_after
        self.is_repeat_safe = is_repeat_safe

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self.problem.status

    @property
    def code(self) -> str:
        """A stable word to act on."""
        return self.problem.code

    @property
    def title(self) -> str:
        """The kind of problem, for people."""
        return self.problem.title

    @property
    def detail(self) -> str:
        """What is wrong and what to do, for people."""
        return self.problem.detail

    @property
    def errors(self) -> list[FieldProblem]:
        """What is wrong with each field; empty where it is not about fields."""
        return self.problem.errors

    def __str__(self) -> str:
        fields = "".join(f"\n  {error.field}: {error.message}" for error in self.errors)
        return f"{self.status} {self.code}: {self.detail}{fields}"


class NotFoundError(ProblemError):
    """There is no such task (code `task_not_found`), or no such address (any other code)."""


class ConflictError(ProblemError):
    """What was asked cannot happen to the task as it stands."""


class TaskFinishedError(ConflictError):
    """The task is COMPLETED or FAILED."""


class ValidationFailedError(ProblemError):
    """The request is wrong; `errors` names the fields."""


class UnavailableError(ProblemError):
    """The service cannot work just now: its database is away, say."""

    is_transient = True


class UnexpectedAnswerError(TaskClientError):
    """An answer that is not the service's: `status` is its code, None if it was garbled; `beginning` how it begins."""

    def __init__(self, status: int | None, beginning: str, retry_after: float | None, is_repeat_safe: bool) -> None:
        super().__init__(status, beginning, retry_after, is_repeat_safe)
        self.status = status
        self.beginning = beginning
        self.retry_after = retry_after
        self.is_repeat_safe = is_repeat_safe
        self.is_transient = status in _GATEWAY_STATUSES

    def __str__(self) -> str:
        return f"an answer that is not the task service's, (status {self.status}): {self.beginning!r}"


class WaitTimeoutError(TaskClientError):
    """The task did not come to its end in time. It goes on; `last` is its last known state, None if there was none."""

    is_transient = True

    def __init__(self, task_id: UUID, timeout_seconds: float, last: TaskState | None) -> None:
        super().__init__(task_id, timeout_seconds, last)
        self.task_id = task_id
        self.timeout_seconds = timeout_seconds
        self.last = last

    def __str__(self) -> str:
        known = "nothing is known of it" if self.last is None else f"it is {self.last.status}"
        return f"task {self.task_id} has not come to its end after {self.timeout_seconds:g} s: {known}"


_CLASS_BY_STATUS: dict[int, type[ProblemError]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.UNPROCESSABLE_ENTITY: ValidationFailedError,
    HTTPStatus.SERVICE_UNAVAILABLE: UnavailableError,
}


def class_of(problem: Problem) -> type[ProblemError]:
    """Return the class that a problem is raised as."""
    if problem.code == ProblemCode.TASK_FINISHED:
        return TaskFinishedError
    return _CLASS_BY_STATUS.get(problem.status, ProblemError)
