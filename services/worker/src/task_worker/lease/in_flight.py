"""What this worker has claimed and not yet recorded: shared by claiming, attempts and heartbeat.

**Invariants**

- A task is in flight from the answer to its claim until its ending is recorded or, where the worker id is dead, until
  its code has stopped.
- Reads are safe from the heartbeat's thread; every change is made on the event loop.
- A claim is under way from before its statement is sent until it is answered. A claim without an answer may still
  commit: it counts as unknown until a reconciling that was sent `claim_seconds` (twice the deadline of a statement)
  after it was given up finds none of its rows. Each reconciling asks for its ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from task_runtime.observers import Kind
from task_store import Claim, HeldRow


class StopReason(StrEnum):
    """Why code is stopped before it ends by itself."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    NOT_HELD = "not_held"
    LEASE_LOST = "lease_lost"
    DRAIN = "drain"
    WORKER_FAILED = "worker_failed"


_URGENT = frozenset({StopReason.NOT_HELD, StopReason.LEASE_LOST})


@dataclass(eq=False)
class Attempt:
    """One attempt in flight."""

    claim: Claim
    timeout_seconds: float
    """Longest run of its code."""
    max_attempts: int
    """How many attempts may fail before the task does."""
    stop_reason: StopReason | None = None
    is_running: bool = True
    """Whether its code may still be at work."""
    run_seconds: float = 0.0
    """How long its code has run, once it has ended; 0 where it was not begun."""
    began_at: float | None = None
    """When its code began, by the event loop's clock; None before."""
    thread_id: int | None = None
    """The thread that runs its code now; None where none does, as for a handler on the loop or in a process."""
    is_dropped: bool = False
    """Whether its ending need not be written any more: the worker id that claimed it is dead."""
    is_end_unknown: bool = False
    """Whether a try to write its ending got no answer: it may have been stored."""
    is_urgent: bool = False
    """Whether its code must end without grace: another worker may soon get the task."""
    traceparent: str | None = None
    """What names the span of this attempt; None where it is not traced."""
    _on_stop: list[Callable[[], object]] = field(default_factory=list)

    @cached_property
    def kind(self) -> Kind:
        """What it is counted as."""
        return Kind(self.claim.queue, self.claim.priority, self.claim.type)

    def on_stop(self, call: Callable[[], object]) -> None:
        """Call `call` when the code is asked to end; at once if it was asked before."""
        self._on_stop.append(call)
        if self.stop_reason is not None:
            call()

    def stop(self, reason: StopReason) -> None:
        """Ask the code to end. The first reason counts; only an urgent one asks again, once."""
        is_urgent = reason in _URGENT
        if not self.is_running or self.is_urgent or (self.stop_reason and not is_urgent):
            return
        self.stop_reason = self.stop_reason or reason
        self.is_urgent = is_urgent
        for call in self._on_stop:
            call()

    def time_out(self) -> None:
        """Ask the code to end: its time is over."""
        self.stop(StopReason.TIMEOUT)


@dataclass(frozen=True)
class Differences:
    """How the rows that the database says this worker holds differ from what is in flight."""

    not_held: tuple[Attempt, ...]
    cancelled: tuple[Attempt, ...]
    unknown: tuple[HeldRow, ...]


@dataclass(frozen=True)
class _UnknownClaim:
    given_up_at: float
    ids: tuple[UUID, ...]


class InFlight:
    """The attempts in flight and the claims under way."""

    def __init__(self, claim_seconds: float) -> None:
        """`claim_seconds`: this long after a claim was given up, it has taken place or never will."""
        self._claim_seconds = claim_seconds
        self._by_id: dict[UUID, Attempt] = {}
        self._under_way: set[UUID] = set()
        self._unknown: dict[UUID, _UnknownClaim] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def is_clear(self) -> bool:
        """Whether nothing is in flight and no claim is under way. Safe from any thread."""
        return not self._under_way and not self._by_id  # in the order in which a claim moves from one to the other

    def __contains__(self, task_id: UUID) -> bool:
        return task_id in self._by_id

    def attempts(self) -> list[Attempt]:
        """Return all attempts. Safe from any thread."""
        return list(self._by_id.values())

    def running(self) -> list[Attempt]:
        """Return those whose code may still be at work. Safe from any thread."""
        return [attempt for attempt in self.attempts() if attempt.is_running]

    def stop_all(self, reason: StopReason) -> None:
        """Ask all running code to end."""
        for attempt in self.running():
            attempt.stop(reason)

    def take(self, attempt: Attempt) -> None:
        """Add an attempt."""
        self._by_id[attempt.claim.id] = attempt

    def drop(self, attempt: Attempt) -> None:
        """Remove an attempt: its ending is recorded, or need not be."""
        if self._by_id.get(attempt.claim.id) is attempt:
            del self._by_id[attempt.claim.id]

    def claim_begins(self, lease_token: UUID) -> None:
        """Note that a claim is about to be sent."""
        self._under_way.add(lease_token)

    def claim_answered(self, lease_token: UUID) -> None:
        """Note that all a claim returned is in flight or given back."""
        self._under_way.discard(lease_token)

    def claim_unanswered(self, lease_token: UUID, ids: Sequence[UUID]) -> None:
        """Note that a claim of these ids got no answer and may yet take place."""
        self._unknown[lease_token] = _UnknownClaim(time.monotonic(), tuple(ids))
        self._under_way.discard(lease_token)

    @property
    def is_claiming(self) -> bool:
        """Whether a claim is under way."""
        return bool(self._under_way)

    @property
    def has_unknown_claim(self) -> bool:
        """Whether a claim without an answer may yet take place."""
        return bool(self._unknown)

    def unknown_ids(self) -> list[UUID]:
        """Return the ids that claims without an answer may yet have taken. Safe from any thread."""
        return [task_id for claim in list(self._unknown.values()) for task_id in claim.ids]

    def compare(self, asked_at: float, before: Iterable[Attempt], rows: Iterable[HeldRow]) -> Differences:
        """Compare with the rows of this worker in the database.

        Claims that were given up long enough before `asked_at` and have no row are unknown no longer.

        Args:
            asked_at: when the question was sent (`time.monotonic`).
            before: what was in flight then.
            rows: the answer: those of the rows of `before` and of `unknown_ids` that this worker holds, at least.

        """
        row_by_id = {row.id: row for row in rows}
        mine = [(attempt, row_by_id.get(attempt.claim.id)) for attempt in before]
        same = [(a, row) for a, row in mine if row and row.lease_token == a.claim.lease_token]
        held_ids = {attempt.claim.id for attempt, _ in same}
        known = self._under_way | {attempt.claim.lease_token for attempt in self.attempts()}
        self._settle(asked_at, {row.lease_token for row in row_by_id.values()})
        return Differences(
            not_held=tuple(attempt for attempt, _ in mine if attempt.claim.id not in held_ids),
            cancelled=tuple(attempt for attempt, row in same if row.is_cancel_requested),
            unknown=tuple(row for row in row_by_id.values() if row.lease_token not in known),
        )

    def _settle(self, asked_at: float, held_tokens: Collection[UUID]) -> None:
        late = [t for t, claim in self._unknown.items() if claim.given_up_at + self._claim_seconds < asked_at]
        for token in late:
            if token not in held_tokens:
                del self._unknown[token]
