"""Enumerations of a task: priority, status, error code; and of a list: order, view."""

from __future__ import annotations

from enum import StrEnum


class WordEnum(StrEnum):
    """An enumeration of words, whose members are hashed as quickly as texts: that of `Enum` is written in Python."""

    __hash__ = str.__hash__


class Priority(WordEnum):
    """How soon a task is picked, compared with others of its queue."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class TaskStatus(WordEnum):
    """The state of a task in its life cycle (`task_contracts.lifecycle`)."""

    NEW = "NEW"
    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended: only a RERUN (not of a COMPLETED task) or the purge can still change the task."""
        return self in TERMINAL

    @property
    def is_waiting(self) -> bool:
        """Whether the task has yet to be claimed."""
        return self in WAITING


WAITING = frozenset({TaskStatus.NEW, TaskStatus.PENDING})
RUNNING = frozenset({TaskStatus.IN_PROGRESS})
TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})


class ErrorCode(StrEnum):
    """Why a task failed, as `TaskError.code`. A handler's `Fail` may give a code of its own."""

    HANDLER_ERROR = "handler_error"
    """The handler raised an exception."""
    FAILED = "failed"
    """The handler raised `Fail`."""
    RETRY = "retry"
    """The handler raised `Retry`."""
    TIMEOUT = "timeout"
    """The handler ran longer than its timeout."""
    INVALID_PAYLOAD = "invalid_payload"
    """The payload does not fit the handler's signature."""
    UNSTORABLE_RESULT = "unstorable_result"
    """The handler's result cannot be stored as JSON, or is too large."""
    PROCESS_DIED = "process_died"
    """The process that the handler ran in ended without an answer."""
    WORKER_LOST = "worker_lost"
    """Three workers died while they ran this task."""
    UNKNOWN_TYPE = "unknown_type"
    """Workers serve the task's queue, but none of them offers its type, and none has for 7 days."""


class SortOrder(StrEnum):
    """The order of a list, by time of creation."""

    NEWEST = "newest"
    OLDEST = "oldest"


class View(StrEnum):
    """How much of each task a list shows."""

    SUMMARY = "summary"
    FULL = "full"
