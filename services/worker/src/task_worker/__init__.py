"""Runs tasks. For those who write handlers: `handler`, `Context`, how to say how it went, and what a follow-up task is.

from task_worker import Context, Fail, Retry, Snooze, TaskCreate, handler
"""

from task_contracts import TaskCreate
from task_worker.attempt.outcome import Fail, Retry, Snooze
from task_worker.context import Context, TaskCancelled
from task_worker.handlers import HandlerError, handler

__all__ = ["Context", "Fail", "HandlerError", "Retry", "Snooze", "TaskCancelled", "TaskCreate", "handler"]
