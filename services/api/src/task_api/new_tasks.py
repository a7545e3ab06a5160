"""Makes of the tasks that callers ask for what the store takes: their queue must exist, and each needs a type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from task_api.fields import ERRORS_MAX
from task_api.problems import invalid, unknown_queue
from task_api.settings import ApiSettings
from task_bus.signals import Signals
from task_contracts import FieldProblem, Signal, SignalKind, TaskCreate, TaskSummary
from task_store import NewTask


class NewTasks:
    """What the settings say of new tasks, and the signals that tell workers of them."""

    def __init__(self, settings: ApiSettings, signals: Signals) -> None:
        self._default_type = settings.default_type
        self._signals = signals
        self._due_by_queue = {queue: Signal(kind=SignalKind.DUE, queue=queue) for queue in settings.queues}

    def make(self, asked: Sequence[TaskCreate], place: str) -> list[NewTask]:
        """Return what the store takes.

        Args:
            asked: what callers ask for.
            place: where the n-th of them stands in the body, such as `body.tasks.{}`.

        Raises:
            ProblemError: one names a queue that does not exist, or no type where there is no default.

        """
        lost = [f"{place.format(n)}.queue" for n, one in enumerate(asked) if one.queue not in self._due_by_queue]
        if lost:
            raise unknown_queue(list(self._due_by_queue), lost[:ERRORS_MAX])
        made = [NewTask(one, one.type or self._default_type or "") for one in asked]
        typeless = [f"{place.format(n)}.type" for n, new in enumerate(made) if not new.type]
        if typeless:
            message = "Field required: this server has no default type"
            errors = [FieldProblem(field=field, message=message) for field in typeless[:ERRORS_MAX]]
            raise invalid(errors, len(typeless))
        return made

    def signal_due(self, created: Iterable[TaskSummary]) -> None:
        """Send one wake-up for each queue of those tasks that are due."""
        for queue in dict.fromkeys(task.queue for task in created if task.due_at <= task.created_at):
            self._signals.send(self._due_by_queue[queue])
