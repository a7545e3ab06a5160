"""The tables, as SQLAlchemy models. The migrations create them; a test holds the two equal."""

from task_store._models.activity import ActivityRow
from task_store._models.api_key import ApiKeyRow
from task_store._models.attempt import AttemptRow
from task_store._models.audit import AuditRow
from task_store._models.base import Base
from task_store._models.failure import FailureRow
from task_store._models.offer import OfferRow
from task_store._models.pause import PauseRow
from task_store._models.queue import QueueRow
from task_store._models.queue_now import QueueNowRow
from task_store._models.task import TaskRow
from task_store._models.uncounted import UncountedRow
from task_store._models.worker import WorkerRow

__all__ = [
    "ActivityRow",
    "ApiKeyRow",
    "AttemptRow",
    "AuditRow",
    "Base",
    "FailureRow",
    "OfferRow",
    "PauseRow",
    "QueueNowRow",
    "QueueRow",
    "TaskRow",
    "UncountedRow",
    "WorkerRow",
]
