"""Runs tasks. For those who write handlers: `handler`, `Context`, and how to say how it went.

from task_worker import Context, Fail, Retry, Snooze, handler
"""

from task_worker.context import Context, TaskCancelled
from task_worker.handlers import HandlerError, handler
from task_worker.outcomes import Fail, Retry, Snooze

__all__ = ["Context", "Fail", "HandlerError", "Retry", "Snooze", "TaskCancelled", "handler"]
