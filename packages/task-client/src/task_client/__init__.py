"""Synchronous and asynchronous client of the task service."""

from task_client._async_client import AsyncTaskClient
from task_client._calls import TaskFilters
from task_client._client import TaskClient
from task_client._errors import (
    ConflictError,
    ConnectionFailedError,
    NoAnswerError,
    NotFoundError,
    ProblemError,
    RequestTimeoutError,
    TaskClientError,
    TaskFinishedError,
    UnavailableError,
    UnexpectedAnswerError,
    ValidationFailedError,
    WaitTimeoutError,
)
from task_client._repeats import RepeatPolicy
from task_contracts import Health, HealthCheck, HealthStatus

__all__ = [
    "AsyncTaskClient",
    "ConflictError",
    "ConnectionFailedError",
    "Health",
    "HealthCheck",
    "HealthStatus",
    "NoAnswerError",
    "NotFoundError",
    "ProblemError",
    "RepeatPolicy",
    "RequestTimeoutError",
    "TaskClient",
    "TaskClientError",
    "TaskFilters",
    "TaskFinishedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "ValidationFailedError",
    "WaitTimeoutError",
]
