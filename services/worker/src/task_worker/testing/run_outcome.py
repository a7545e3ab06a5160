"""The outcome of one attempt in a test: what a worker would have recorded, and what the handler reported."""

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
    """How one attempt ended, and what it reported."""

    event: Event
    """The event that a worker would record: COMPLETE, FAIL, RETRY, SNOOZE or CONFIRM_CANCEL."""
    error: TaskError | None
    """Why it failed (`code`, `message`, `type`); None if it did not fail."""
    after_seconds: float | None
    """After how long the task may be claimed again: as the handler asked, else a random pause. None if it has ended."""
    progress: tuple[Progress, ...]
    """All reports, in order. (A worker writes only the latest of each quarter of a second.)"""
    checkpoints: tuple[Any, ...]
    """What `context.checkpoint` has stored, in order: the next attempt finds the last one as `checkpointed`."""
    created: tuple[TaskCreate, ...]
    """The tasks that were created through `context.client` and `context.sync_client`; none if a client was passed."""
    traceback: str | None = field(repr=False)
    """Where an exception other than Fail, Retry and Snooze was raised; None without one."""
    result_text: str | None = field(repr=False)
    """The result as the JSON that would be stored; None if there is none."""

    @property
    def status(self) -> TaskStatus:
        """The status of the task afterwards: COMPLETED, FAILED, PENDING (it runs again) or CANCELLED."""
        status = LIFECYCLE[self.event].target
        if status is None:
            raise ValueError(f"{self.event} ends no attempt")
        return status

    @property
    def result(self) -> Any:
        """The result as a caller of the API reads it: after JSON, so a tuple is a list, and a model a dict.

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
    ending: Ending,
    *,
    is_cancel_requested: bool,
    progress: Iterable[Progress],
    checkpoints: Iterable[Any],
    created: Iterable[TaskCreate],
) -> RunOutcome:
    """Return the outcome of an ending. As in the database, a requested cancel turns it into CONFIRM_CANCEL."""
    is_guarded = Guard.NO_CANCEL_REQUESTED in LIFECYCLE[ending.event].guards
    event = Event.CONFIRM_CANCEL if is_cancel_requested and is_guarded else ending.event
    is_failure = event in {Event.RETRY, Event.FAIL}
    return RunOutcome(
        event,
        error=ending.error if is_failure else None,
        after_seconds=ending.delay.total_seconds() if event in {Event.RETRY, Event.SNOOZE} else None,
        progress=tuple(progress),
        checkpoints=tuple(checkpoints),
        created=tuple(created),
        traceback=ending.traceback if is_failure else None,
        result_text=ending.result,
    )
