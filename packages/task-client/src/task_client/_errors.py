"""The errors of the client: one class for each thing that a caller would treat differently.

    TaskClientError
    ├── NoAnswerError               no answer arrived
    │   ├── ConnectionFailedError   the service could not be reached, or closed the connection
    │   └── RequestTimeoutError     it did not answer in time
    ├── ProblemError                the service says what is wrong (RFC 9457)
    │   ├── UnauthenticatedError    401: there is no key, or one that is not valid
    │   ├── ForbiddenError          403: the key lacks a scope, which `detail` names
    │   ├── NotFoundError           404
    │   ├── ConflictError           409
    │   │   └── TaskFinishedError   the task has ended: it is too late for the request
    │   ├── TaskChangedError        412: the task is no longer at the version that was named
    │   ├── ValidationFailedError   422: `errors` names the fields
    │   │   └── KeyMismatchError    the key of this create belongs to another one
    │   ├── TooManyRequestsError    429: `retry_after` says when to try again
    │   └── UnavailableError        503: `retry_after` says when to try again
    ├── UnexpectedAnswerError       an answer that does not come from the service, such as a proxy's page
    └── WaitTimeoutError            tasks did not end in time

Each has `is_repeat_safe`, whether a repeat of the call cannot do its work twice, `is_transient`, whether the same call
may succeed later, `request`, the method and URL that it is about, and, of a create, the `key` that makes a repeat safe.
"""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from task_contracts import FieldProblem, Problem, ProblemCode, TaskState, TaskSummary, printable_text

_GATEWAY_STATUSES = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


class TaskClientError(Exception):
    """Base of everything that this package raises."""

    is_repeat_safe: bool = True
    is_transient: bool = False
    retry_after: float | None = None
    """Seconds after which the service asks to be called again; None if it does not say."""
    request: str = ""
    """The method and the URL that were called, without query and password; empty where none was."""
    key: str | None = None
    """Of a create: the same call with `key=` this and the same tasks cannot be done twice."""
    created: tuple[TaskSummary, ...] = ()
    """What `create_many` or `map` had created before the error."""


class NoAnswerError(TaskClientError):
    """No answer arrived. If `is_repeat_safe` is false, what was asked may have been done."""

    is_transient = True

    def __init__(self, reason: str, is_repeat_safe: bool) -> None:
        super().__init__(reason, is_repeat_safe)
        self.reason = reason
        self.is_repeat_safe = is_repeat_safe

    def __str__(self) -> str:
        said = _with_request(self, self.reason)
        if self.is_repeat_safe:
            return said
        safely = "" if self.key is None else f": to repeat it safely, pass key={self.key!r}"
        return f"{said}; what was asked may have been done{safely}"


class ConnectionFailedError(NoAnswerError):
    """The service could not be reached, or closed the connection without an answer."""


class RequestTimeoutError(NoAnswerError):
    """The service did not answer in time."""


class ProblemError(TaskClientError):
    """The service refused and says why. Branch on `code` (`task_contracts.ProblemCode`), show `detail`."""

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
        """What is wrong with each field; empty where the problem is not about fields."""
        return self.problem.errors

    def __str__(self) -> str:
        """Return a line, and a line for each field; what others wrote is escaped, so it cannot pass for one."""
        fields = "".join(f"\n  {printable_text(f'{error.field}: {error.message}')}" for error in self.errors)
        return _with_request(self, f"{self.status} {printable_text(f'{self.code}: {self.detail}')}{fields}")


class UnauthenticatedError(ProblemError):
    """The service asks for a key: there was none, or it is unknown, expired or revoked. It says no more of it."""


class ForbiddenError(ProblemError):
    """The key does not have the scope that the call needs; `detail` names it."""


class NotFoundError(ProblemError):
    """No such task (code `task_not_found`), key or pause, or no such address (`not_found`)."""


class ConflictError(ProblemError):
    """The request does not fit the present status of the task, the key or the pause."""


class TaskFinishedError(ConflictError):
    """The task is COMPLETED or FAILED."""


class ValidationFailedError(ProblemError):
    """The request is wrong; `errors` names the fields."""


class KeyMismatchError(ValidationFailedError):
    """Another create, or another body, was sent with this key before."""


class TaskChangedError(ProblemError):
    """The task is no longer at the version that was named with `if_version`."""


class TooManyRequestsError(ProblemError):
    """The service asks to be called later: there were too many keys that are not valid, from this address."""

    is_transient = True


class UnavailableError(ProblemError):
    """The service cannot work at present, for example because it does not reach its database."""

    is_transient = True


class UnexpectedAnswerError(TaskClientError):
    """An answer that does not come from the service.

    `status` is its code, None if it could not be decoded; `beginning` is how its text begins.
    """

    def __init__(self, status: int | None, beginning: str, retry_after: float | None, is_repeat_safe: bool) -> None:
        super().__init__(status, beginning, retry_after, is_repeat_safe)
        self.status = status
        self.beginning = beginning
        self.retry_after = retry_after
        self.is_repeat_safe = is_repeat_safe
        self.is_transient = status in _GATEWAY_STATUSES

    def __str__(self) -> str:
        said = f"an answer that is not the task service's (status {self.status}): {self.beginning!r}"
        return _with_request(self, said)


class WaitTimeoutError(TaskClientError):
    """Tasks did not end in time. They go on.

    `task_ids` are those that have not ended, `task_id` is the first of them; `last` is the last known state of the one
    task of a `wait`, None if none is known.
    """

    is_transient = True

    def __init__(self, task_ids: tuple[UUID, ...], timeout_seconds: float, last: TaskState | None = None) -> None:
        super().__init__(task_ids, timeout_seconds, last)
        self.task_ids = task_ids
        self.timeout_seconds = timeout_seconds
        self.last = last

    @property
    def task_id(self) -> UUID:
        """The task that has not ended, or the first of them."""
        return self.task_ids[0]

    def __str__(self) -> str:
        if len(self.task_ids) > 1:
            return f"{len(self.task_ids)} tasks have not ended after {self.timeout_seconds:g} s"
        known = "nothing is known of it" if self.last is None else f"it is {self.last.status}"
        return f"task {self.task_id} has not ended after {self.timeout_seconds:g} s: {known}"


_CLASS_BY_STATUS: dict[int, type[ProblemError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthenticatedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.PRECONDITION_FAILED: TaskChangedError,
    HTTPStatus.UNPROCESSABLE_ENTITY: ValidationFailedError,
    HTTPStatus.TOO_MANY_REQUESTS: TooManyRequestsError,
    HTTPStatus.SERVICE_UNAVAILABLE: UnavailableError,
}


def class_of(problem: Problem) -> type[ProblemError]:
    """Return the class of error that a problem is raised as."""
    if problem.code == ProblemCode.TASK_FINISHED:
        return TaskFinishedError
    if problem.code == ProblemCode.IDEMPOTENCY_MISMATCH:
        return KeyMismatchError
    return _CLASS_BY_STATUS.get(problem.status, ProblemError)


def _with_request(error: TaskClientError, said: str) -> str:
    return f"{error.request}: {said}" if error.request else said
