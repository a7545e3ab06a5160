"""Runs tasks. Modules with handlers import from here: `handler`, `Context`, the exceptions, and `TaskCreate`.

from task_worker import Context, Fail, Retry, Snooze, TaskCreate, handler
"""

from task_contracts import TaskCreate
from task_worker.context import Context
from task_worker.exceptions import Fail, Retry, Snooze, TaskCancelled, UnstorableCheckpointError
from task_worker.handlers import HandlerError, handler

__all__ = [
    "Context",
    "Fail",
    "HandlerError",
    "Retry",
    "Snooze",
    "TaskCancelled",
    "TaskCreate",
    "UnstorableCheckpointError",
    "handler",
]
