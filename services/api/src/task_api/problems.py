"""Problem documents (RFC 9457): every error is answered with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from task_contracts import PROBLEM_MEDIA_TYPE, FieldProblem, Problem, ProblemCode, Scope

RETRY_AFTER_SECONDS = 2

_IN_SCOPE = "task_api.problem"

STATUS_BY_CODE: dict[str, int] = {
    ProblemCode.VALIDATION: 422,
    ProblemCode.UNKNOWN_QUEUE: 422,
    ProblemCode.TASK_NOT_FOUND: 404,
    ProblemCode.TASK_FINISHED: 409,
    ProblemCode.WRONG_STATUS: 409,
    ProblemCode.VERSION_MISMATCH: 412,
    ProblemCode.IDEMPOTENCY_MISMATCH: 422,
    ProblemCode.KEY_EXPIRED: 409,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.METHOD_NOT_ALLOWED: 405,
    ProblemCode.BODY_TOO_LARGE: 413,
    ProblemCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ProblemCode.HOST_NOT_ALLOWED: 421,
    ProblemCode.UNAUTHENTICATED: 401,
    ProblemCode.FORBIDDEN: 403,
    ProblemCode.TOO_MANY_FAILED_ATTEMPTS: 429,
    ProblemCode.KEY_NOT_FOUND: 404,
    ProblemCode.LAST_KEY: 409,
    ProblemCode.PAUSE_NOT_FOUND: 404,
    ProblemCode.PAUSE_IS_OVER: 409,
    ProblemCode.PAUSES_NOT_KNOWN: 409,
    ProblemCode.UNAVAILABLE: 503,
    ProblemCode.INTERNAL: 500,
}

# Not from `http.HTTPStatus`, whose phrases differ between versions of Python.
_TITLE_BY_STATUS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class ProblemError(HTTPException):
    """Ends a request with a problem document.

    It is an `HTTPException`, because FastAPI answers 400 to any other exception that is raised while it reads a body.
    """

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.status, problem.detail, headers)
        self.problem = problem


def make_problem(code: ProblemCode, detail: str, errors: Sequence[FieldProblem] = (), *, status: int = 0) -> Problem:
    """Return a problem document; its status is the one of `code` unless another is given."""
    status = status or STATUS_BY_CODE[code]
    title = _TITLE_BY_STATUS.get(status, "Error")
    return Problem(type="about:blank", title=title, status=status, detail=detail, code=code, errors=list(errors))


NO_HOST = make_problem(ProblemCode.VALIDATION, "a request names one host, as in Host: 127.0.0.1:9000", status=400)
HOST_NOT_ALLOWED = make_problem(
    ProblemCode.HOST_NOT_ALLOWED,
    "this service does not have the name in Host; TASK_API_ALLOWED_HOSTS lists the names with a dot that it has",
)
INTERNAL = make_problem(ProblemCode.INTERNAL, "something failed in the server; it is in its log")
OF_EVERY_CALL = (NO_HOST, HOST_NOT_ALLOWED, INTERNAL)
"""What any call may answer, whatever it does."""


def invalid(errors: Sequence[FieldProblem], count: int | None = None) -> ProblemError:
    """Return the 422 that names each wrong field; there must be at least one. `errors` are the first of `count`."""
    fields = ", ".join(dict.fromkeys(error.field for error in errors))
    count = len(errors) if count is None else count
    detail = f"one field is wrong: {fields}" if count == 1 else f"{count} fields are wrong: {fields}"
    if count > len(errors):
        detail += ", and others"
    return ProblemError(make_problem(ProblemCode.VALIDATION, detail, errors))


def too_many_errors(count: int) -> ProblemError:
    """Return the 422 for a body with so many errors that naming them would take too long."""
    return invalid([FieldProblem(field="body", message=f"has {count} errors, too many to name them")])


def unknown_queue(known: Sequence[str], fields: Sequence[str] = ("body.queue",)) -> ProblemError:
    """Return the 422 for a queue that does not exist, named in these fields."""
    detail = f"there is no such queue; there are: {', '.join(known)}"
    errors = [FieldProblem(field=field, message=detail) for field in fields]
    return ProblemError(make_problem(ProblemCode.UNKNOWN_QUEUE, detail, errors))


def no_such_queue(known: Sequence[str]) -> ProblemError:
    """Return the 404 for a path that names a queue that does not exist."""
    return ProblemError(make_problem(ProblemCode.NOT_FOUND, f"there is no such queue; there are: {', '.join(known)}"))


def idempotency_mismatch() -> ProblemError:
    """Return the 422 for a key that belongs to another request."""
    detail = (
        "this Idempotency-Key belongs to another request, with another body or by the other of POST /tasks and POST"
        " /tasks/batch; repeat that one as it was, or send a new key"
    )
    return ProblemError(make_problem(ProblemCode.IDEMPOTENCY_MISMATCH, detail))


def key_expired() -> ProblemError:
    """Return the 409 for the repeat of a batch of which some tasks were purged."""
    detail = (
        "the batch of this Idempotency-Key was created, and some of its tasks were purged since;"
        " GET /tasks?idempotency_key= shows those that are left; to create the tasks again, send a new key"
    )
    return ProblemError(make_problem(ProblemCode.KEY_EXPIRED, detail))


def task_not_found(task_id: UUID) -> ProblemError:
    """Return the 404 for an id that no task has."""
    return ProblemError(make_problem(ProblemCode.TASK_NOT_FOUND, f"there is no task {task_id}"))


def task_finished(reason: str) -> ProblemError:
    """Return the 409 for a change that a finished task does not allow."""
    return ProblemError(make_problem(ProblemCode.TASK_FINISHED, reason))


def wrong_status(reason: str) -> ProblemError:
    """Return the 409 for a change that the status of a task does not allow."""
    return ProblemError(make_problem(ProblemCode.WRONG_STATUS, reason))


def version_mismatch(version: int) -> ProblemError:
    """Return the 412 for a task that is at another version than the caller expected."""
    detail = f"the task is at version {version}, which If-Match does not name: read it again"
    return ProblemError(make_problem(ProblemCode.VERSION_MISMATCH, detail))


def body_too_large(max_bytes: int) -> ProblemError:
    """Return the 413 for a body of more than `max_bytes`."""
    return ProblemError(make_problem(ProblemCode.BODY_TOO_LARGE, f"the body is larger than {max_bytes} bytes"))


def body_too_slow(seconds: float) -> ProblemError:
    """Return the 408 for a body that did not arrive within `seconds`."""
    detail = f"the body did not arrive within {seconds:.0f} s"
    return ProblemError(make_problem(ProblemCode.VALIDATION, detail, status=408))


def not_json() -> ProblemError:
    """Return the 415 for a body that is not declared as JSON."""
    detail = "the body must be sent as Content-Type: application/json"
    return ProblemError(make_problem(ProblemCode.UNSUPPORTED_MEDIA_TYPE, detail))


def encoded() -> ProblemError:
    """Return the 415 for a body that is sent in an encoding."""
    detail = "the body must be sent as it is, without a Content-Encoding"
    return ProblemError(make_problem(ProblemCode.UNSUPPORTED_MEDIA_TYPE, detail), {"Accept-Encoding": "identity"})


def unauthenticated() -> ProblemError:
    """Return the 401 for a request without a valid key. It is one and the same, whatever is wrong with the key."""
    detail = "this call needs a valid key, sent as Authorization: Bearer ts_...; this one is missing, wrong or over"
    return ProblemError(make_problem(ProblemCode.UNAUTHENTICATED, detail), {"WWW-Authenticate": "Bearer"})


def forbidden(*scopes: Scope, what: str = "this call") -> ProblemError:
    """Return the 403 for a key that lacks the scope that `what` needs: any one of these."""
    return ProblemError(make_problem(ProblemCode.FORBIDDEN, f"{what} needs a key with the scope {' or '.join(scopes)}"))


def ungranted(scopes: Sequence[Scope]) -> ProblemError:
    """Return the 403 for a key that would give another one what it lacks itself."""
    detail = f"a key cannot give what it lacks: {', '.join(scopes)}"
    return ProblemError(make_problem(ProblemCode.FORBIDDEN, detail))


def too_many_failed_attempts(seconds: int) -> ProblemError:
    """Return the 429 for an address from which too many wrong keys came, which says when to try again."""
    detail = f"too many wrong keys came from this address; keys are looked at again in {seconds} s"
    return ProblemError(make_problem(ProblemCode.TOO_MANY_FAILED_ATTEMPTS, detail), {"Retry-After": str(seconds)})


def key_not_found(key_id: str) -> ProblemError:
    """Return the 404 for an id that no key has."""
    return ProblemError(make_problem(ProblemCode.KEY_NOT_FOUND, f"there is no key {key_id}"))


def last_key() -> ProblemError:
    """Return the 409 for the last key by which others can be created."""
    detail = (
        f"this is the last key that has the scope {Scope.KEYS}, is valid and does not expire: create another one first"
    )
    return ProblemError(make_problem(ProblemCode.LAST_KEY, detail))


def pause_not_found(pause_id: UUID) -> ProblemError:
    """Return the 404 for an id that no pause has."""
    return ProblemError(make_problem(ProblemCode.PAUSE_NOT_FOUND, f"there is no pause {pause_id}"))


def pause_is_over(reason: str) -> ProblemError:
    """Return the 409 for a pause that cannot be ended any more."""
    return ProblemError(make_problem(ProblemCode.PAUSE_IS_OVER, reason))


def pauses_not_known(reason: str) -> ProblemError:
    """Return the 409 for a pause while workers live that would go on."""
    return ProblemError(make_problem(ProblemCode.PAUSES_NOT_KNOWN, reason))


def unavailable(detail: str = "the database cannot be used now; try again later") -> ProblemError:
    """Return the 503 for a database that cannot be used now, or for what `detail` says. It says when to try again."""
    return ProblemError(make_problem(ProblemCode.UNAVAILABLE, detail), {"Retry-After": str(RETRY_AFTER_SECONDS)})


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response whose body is `problem`."""
    return _ProblemResponse(problem, headers)


def answer(error: ProblemError) -> Response:
    """Return the response that says `error`."""
    return respond(error.problem, error.headers)


def answered_with(scope: AsgiScope) -> Problem | None:
    """Return the problem document that the request of `scope` was answered with; None where it was another answer."""
    problem: Problem | None = scope.get(_IN_SCOPE)
    return problem


class _ProblemResponse(Response):
    """Notes its problem in the scope of the request, for the line of the log."""

    media_type = PROBLEM_MEDIA_TYPE

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None) -> None:
        super().__init__(problem.model_dump_json(), problem.status, headers)
        self._problem = problem

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        scope[_IN_SCOPE] = self._problem
        await super().__call__(scope, receive, send)
