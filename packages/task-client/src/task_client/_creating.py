"""Decides how tasks are created, one by one or in batches. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from task_client import _calls as calls
from task_client._bodies import Batch, NewTask, batches, encoded
from task_client._errors import ProblemError, TaskClientError
from task_client._flows import ask, collect
from task_client._repeats import RepeatPolicy
from task_client._steps import Emit, Flow
from task_contracts import CreatedTasks, FieldProblem, Task, TaskCreate, TaskSummary, limits

KeyOf = Callable[[bytes, str | None], str]
"""Returns the key of a create, from its body and from the key that the caller gave."""
_INDEX = re.compile(r"\bbody\.tasks\.(\d{1,6})\b")
"""How the service names a task of a batch."""
KEY_CHARS = limits.IDEMPOTENCY_KEY_CHARS - 10
"""The longest key of many tasks: the first batch has the key itself, the n-th has `.n` behind it."""


def create(task: TaskCreate, key: str | None, key_of: KeyOf, repeats: RepeatPolicy) -> Flow[Task]:
    """Create a task under a key, so that it may be repeated."""
    content = encoded(task)
    call = calls.create(content, key_of(content, key), is_key_known=key is not None)
    return (yield from ask(call, Task, repeats))


def create_lazily(tasks: Iterable[NewTask], key: str | None, key_of: KeyOf, repeats: RepeatPolicy) -> Flow[None]:
    """Create tasks in batches, each sent when its tasks are needed, and emit their summaries.

    All batches have keys that are made of one, which an error names: with it the whole of it can be repeated.

    Raises:
        ValueError: the key is too long to be numbered.

    """
    if key is not None and len(key) > KEY_CHARS:
        raise ValueError(f"the key of many tasks has at most {KEY_CHARS} characters, not {len(key)}")
    base = key
    for number, batch in enumerate(batches(tasks), start=1):
        content = batch.content
        if number == 1:
            base = batch_key = key_of(content, key)
        else:
            batch_key = f"{base}.{number}"
        call = calls.create_batch(content, batch_key, is_key_known=key is not None)
        try:
            created = yield from ask(call, CreatedTasks, repeats)
        except ProblemError as error:
            renumbered = _renumbered(error, batch)
            renumbered.key = base
            raise renumbered from error.__cause__
        except TaskClientError as error:
            error.key = base
            raise
        for summary in created.items:
            yield Emit(summary)


def create_many(
    tasks: Iterable[NewTask], key: str | None, key_of: KeyOf, repeats: RepeatPolicy
) -> Flow[list[TaskSummary]]:
    """Create tasks in batches, one batch after the other, and return their summaries.

    Raises:
        TaskClientError: with what was created before it.

    """
    created: list[TaskSummary] = []
    try:
        yield from collect(create_lazily(tasks, key, key_of, repeats), created)
    except TaskClientError as error:
        error.created = tuple(created)
        raise
    return created


def _renumbered(error: ProblemError, batch: Batch) -> ProblemError:
    """Return a refusal of a batch with the index in all tasks in the place of the one in the batch."""

    def in_all(text: str) -> str:
        return _INDEX.sub(lambda found: f"tasks.{batch.first + int(found[1])}", text)

    fields = [FieldProblem(field=in_all(one.field), message=one.message) for one in error.errors]
    problem = error.problem.model_copy(update={"errors": fields, "detail": in_all(error.detail)})
    renumbered = type(error)(problem, error.retry_after, error.is_repeat_safe)
    renumbered.request = error.request
    return renumbered
