"""Problem documents (RFC 9457): the one shape of every error that the API answers with."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemCode(StrEnum):
    """A stable word for each kind of error that a caller would treat differently."""

    VALIDATION = "validation_error"
    UNKNOWN_QUEUE = "unknown_queue"
    TASK_NOT_FOUND = "task_not_found"
    TASK_FINISHED = "task_finished"
    WRONG_STATUS = "wrong_status"
    VERSION_MISMATCH = "version_mismatch"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    KEY_EXPIRED = "key_expired"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    HOST_NOT_ALLOWED = "host_not_allowed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    TOO_MANY_FAILED_ATTEMPTS = "too_many_failed_attempts"
    KEY_NOT_FOUND = "key_not_found"
    LAST_KEY = "last_key"
    PAUSE_NOT_FOUND = "pause_not_found"
    PAUSE_IS_OVER = "pause_is_over"
    PAUSES_NOT_KNOWN = "pauses_not_known"
    """A live worker is of a version that does not know pauses."""
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal_error"


class FieldProblem(BaseModel):
    """What is wrong with one field. It never repeats what was sent."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="Where, as `body.labels.customer` or `query.limit`.", examples=["body.priority"])
    message: str = Field(examples=["Input should be 'LOW', 'MEDIUM' or 'HIGH'"])


class Problem(BaseModel):
    """An error, as `application/problem+json`."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(
        default="about:blank", description="A URI reference that names the kind of problem.", examples=["about:blank"]
    )
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(ge=400, le=599, examples=[422])
    detail: str = Field(description="What is wrong and what to do.", examples=["one field is wrong: body.priority"])
    code: str = Field(description="A stable word to act on (`ProblemCode`).", examples=["validation_error"])
    errors: list[FieldProblem] = Field(default_factory=list)
