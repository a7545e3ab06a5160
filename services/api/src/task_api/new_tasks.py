"""Makes of the tasks that callers ask for what the store takes: their queue must exist, and each needs a type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

from task_api.fields import ERRORS_MAX
from task_api.problems import invalid, unknown_queue
from task_api.settings import ApiSettings
from task_bus.signals import Signals
from task_contracts import FieldProblem, Signal, SignalKind, TaskCreate, TaskSummary
from task_contracts.lifecycle import Event
from task_runtime.observers import Kind, Observer
from task_store import NewTask

_KIND_OF = attrgetter(*Kind._fields)


class NewTasks:
    """What the settings say of new tasks, and who is told of them: workers, by signals, and those who count."""

    def __init__(self, settings: ApiSettings, signals: Signals, observer: Observer) -> None:
        self._observer = observer
        self._default_type = settings.default_type
        self._signals = signals
        self._queues = settings.queues

    def make(self, asked: Sequence[TaskCreate], place: str) -> list[NewTask]:
        """Return what the store takes.

        Args:
            asked: what callers ask for.
            place: where the n-th of them stands in the body, such as `body.tasks.{}`.

        Raises:
            ProblemError: one names a queue that does not exist, or no type where there is no default.

        """
        lost = [f"{place.format(n)}.queue" for n, one in enumerate(asked) if one.queue not in self._queues]
        if lost:
            raise unknown_queue(list(self._queues), lost[:ERRORS_MAX])
        made = [NewTask(one, one.type or self._default_type or "") for one in asked]
        typeless = [f"{place.format(n)}.type" for n, new in enumerate(made) if not new.type]
        if typeless:
            message = "Field required: this server has no default type"
            errors = [FieldProblem(field=field, message=message) for field in typeless[:ERRORS_MAX]]
            raise invalid(errors, len(typeless))
        return made

    def tell(self, created: Sequence[TaskSummary]) -> None:
        """Tell of tasks that were stored: all are counted, and each queue in which some are due has one wake-up.

        That of a single task names it: a worker that has nothing else to do may take it at once.
        """
        for kind, count in Counter(map(_KIND_OF, created)).items():
            self._observer.happened(Kind(*kind), Event.CREATE, count)
        named = tuple(task.id for task in created) if len(created) == 1 else ()
        for queue in dict.fromkeys(task.queue for task in created if task.due_at <= task.created_at):
            self._signals.send(Signal(kind=SignalKind.DUE, queue=queue, ids=named))
