"""The five tables, as SQLAlchemy models. The migrations create them; a test holds the two equal."""

from task_store._models.attempt import AttemptRow
from task_store._models.base import Base
from task_store._models.offer import OfferRow
from task_store._models.queue import QueueRow
from task_store._models.task import TaskRow
from task_store._models.worker import WorkerRow

__all__ = ["AttemptRow", "Base", "OfferRow", "QueueRow", "TaskRow", "WorkerRow"]
