"""What came of running a handler: what a worker would have written, and what the handler said and asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from task_contracts import Progress, TaskCreate, TaskError, TaskStatus
from task_contracts.lifecycle import LIFECYCLE, Event, Guard
from task_store import Ending


@dataclass(frozen=True)
class RunOutcome:
    """How one attempt ended."""

    event: Event
    """COMPLETE, FAIL, RETRY, RELEASE (it snoozed) or CONFIRM_CANCEL: what a worker would record."""
    error: TaskError | None
    """Why it failed (`code`, `message`, `type`); None where it did not."""
    after_seconds: float | None
    """After how long the task may be claimed again: as the handler asked, else a random pause. None where it ended."""
    progress: tuple[Progress, ...]
    """All that was reported, in order. (What a worker writes is folded: the latest of each quarter of a second.)"""
    created: tuple[TaskCreate, ...]
    """The tasks that were created through `context.client` and `context.sync_client`, unless a client was given."""
    traceback: str | None = field(repr=False)
    """Where it was raised, for an exception that is none of ours."""
    result_text: str | None = field(repr=False)
    """The result as the JSON that is stored; None for none."""

    @property
    def status(self) -> TaskStatus:
        """What the task is afterwards: COMPLETED, FAILED, PENDING (it runs again) or CANCELLED."""
        status = LIFECYCLE[self.event].target
        if status is None:
            raise ValueError(f"{self.event} ends no attempt")
        return status

    @property
    def result(self) -> Any:
        """What a caller reads as the result: the value as JSON keeps it, so a tuple is a list, a model a dict.

        Raises:
            AssertionError: the attempt did not complete; the text says how it ended, with the traceback.

        """
        if self.event is not Event.COMPLETE:
            raise AssertionError("\n".join(filter(None, [f"there is no result: it ended by {self}", self.traceback])))
        return None if self.result_text is None else orjson.loads(self.result_text)

    def __str__(self) -> str:
        again = "" if self.after_seconds is None else f" after {self.after_seconds:g} s"
        why = "" if self.error is None else f": {self.error.code}: {self.error.message}"
        return f"{self.event}{again}{why}"


def outcome_of_ending(
    ending: Ending, *, is_cancel_requested: bool, progress: Iterable[Progress], created: Iterable[TaskCreate]
) -> RunOutcome:
    """Return the outcome that the database would make of an ending."""
    is_guarded = Guard.NO_CANCEL_REQUESTED in LIFECYCLE[ending.event].guards
    event = Event.CONFIRM_CANCEL if is_cancel_requested and is_guarded else ending.event
    is_failure = event in {Event.RETRY, Event.FAIL}
    return RunOutcome(
        event,
        error=ending.error if is_failure else None,
        after_seconds=ending.delay.total_seconds() if event in {Event.RETRY, Event.RELEASE} else None,
        progress=tuple(progress),
        created=tuple(created),
        traceback=ending.traceback if is_failure else None,
        result_text=ending.result,
    )
