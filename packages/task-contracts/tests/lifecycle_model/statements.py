"""The statements of the store, as the table says and as the protocol uses them, each one step of the model.

A protection that is not a transition of the table is a member of `Protection`, so that it can be taken away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from task_contracts import TaskStatus
from task_contracts.lifecycle import LIFECYCLE, RECORD, SWEEP, Event, Guard

from .rows import RENEWS_TOKEN, Table, is_allowed, written
from .system import ALIVE, CLAIMING, Hand, State, Worker


class Fault(StrEnum):
    """What may happen to the system, any number of times."""

    WORKER_CRASH = "a worker crashes"
    WORKER_PAUSE = "a worker is paused beyond its lease"
    LEADER_CRASH = "the leader crashes between mark and publish"
    MESSAGE_LOST = "a message is lost"
    MESSAGE_TWICE = "a message is delivered twice"
    BROKER_DOWN = "the broker goes down for ever"
    CLAIM_UNANSWERED = "the answer to a claim is lost"
    CLAIM_GIVEN_UP = "a claim is given up and may commit later"
    RECORD_UNANSWERED = "the answer to a record is lost"


class Protection(StrEnum):
    """What the protocol does beside the table, so that it can be taken away."""

    NET = "the net claims straight from the table"
    NET_WAITS = "the net waits until a task has been due for 2 s"
    MARK_FIRST = "the mark commits before the message is published"
    CASE_IN_RECORD = "a record turns into CONFIRM_CANCEL where a cancel was requested"
    CASE_IN_SWEEP = "the sweep turns into CANCEL_LOST where a cancel was requested"
    SWEEP_EVERY_TICK = "every tick sweeps, not only the one that declares a death"
    READ_BACK_RELEASES = "the read-back releases what the worker does not know of"
    READ_BACK_SPARES = "the read-back spares claims under way"
    NO_LATE_START = "no handler starts after the lease of its worker"
    DEAD_FOR_EVER = "a worker that finds its row dead goes on under a new id"


SWEPT = frozenset({Guard.WORKER_DEAD})
TOKEN = frozenset({Guard.LEASE_TOKEN})
NO_FACTS: frozenset[Guard] = frozenset()


@dataclass(frozen=True)
class Statements:
    """What PostgreSQL does when it is asked, under some faults, with some wishes, without some protections.

    `wishes` are events that may happen at any time: those of CALLERS, and RELEASE for handlers that snooze. In
    `slow_time` 2 s pass only where just handlers have anything to do. `slots` is per worker.
    """

    start: State
    faults: frozenset[Fault] = frozenset()
    wishes: frozenset[Event] = frozenset()
    without: frozenset[Protection] = frozenset()
    table: Table = field(default_factory=lambda: LIFECYCLE, hash=False)
    slots: int = 2
    slow_time: bool = False

    def has(self, protection: Protection) -> bool:
        """Whether the protection is in place."""
        return protection not in self.without

    def update(self, s: State, i: int, event: Event, facts: frozenset[Guard] = NO_FACTS) -> State | None:
        """Commit one event on task i; None means zero rows. Notes it if the table allowed what P3 or P4 forbids."""
        transition, row = self.table[event], s.rows[i]
        if not is_allowed(transition, row, facts):
            return None
        after = s.with_row(i, written(transition, row))
        if RENEWS_TOKEN.intersection(transition.writes):
            after = after.with_token_renewed(i)
        if row.is_finished and event not in (Event.RERUN, Event.PURGE):
            return after.breaking(f"P3: {event} changed a task that is {row.status}")
        if transition.target is TaskStatus.CANCELLED and event is not Event.CANCEL and not row.is_cancel_requested:
            return after.breaking(f"P4: {event} of a task that nobody cancelled")
        return after

    def record(self, s: State, i: int, wish: Event, token_is_current: bool) -> State | None:
        """End an attempt as its worker wishes, or as the CASE decides on the locked row."""
        facts = TOKEN if token_is_current else NO_FACTS
        wishes = {wish, Event.CONFIRM_CANCEL} if self.has(Protection.CASE_IN_RECORD) else {wish}
        event = next((e for e in RECORD if e in wishes and is_allowed(self.table[e], s.rows[i], facts)), None)
        after = self.update(s, i, event, facts) if event else None
        return after.breaking(f"P3: {event} by a stale token") if after and not token_is_current else after

    def sweep(self, s: State, i: int) -> State | None:
        """Bring task i back if its worker is dead."""
        facts = SWEPT if s.is_dead(s.rows[i].owner) else NO_FACTS
        events = [e for e in SWEEP if e is not Event.CANCEL_LOST or self.has(Protection.CASE_IN_SWEEP)]
        event = next((e for e in events if is_allowed(self.table[e], s.rows[i], facts)), None)
        after = self.update(s, i, event, facts) if event else None
        is_healthy = not self.faults & {Fault.WORKER_CRASH, Fault.WORKER_PAUSE}
        return after.breaking("P2: the sweep took a task of a healthy worker") if after and is_healthy else after

    def claim(self, s: State, w: int, i: int, by_net: bool = False) -> State | None:
        """Claim task i; its answer is under way. An id that is still in the worker's hands is not claimed again."""
        worker = s.workers[w]
        if worker.hands[i].doing or not self._has_slot(worker):
            return None
        facts = {Guard.TYPE_OFFERED}
        if worker.lease == ALIVE:
            facts.add(Guard.WORKER_ALIVE)
        if not s.rows[i].is_suspect or (by_net and self._may_hold_suspect(s, w)):
            facts.add(Guard.LONE_SUSPECT)
        after = self.update(s, i, Event.CLAIM, frozenset(facts))
        return after and self._owned(after, w, i).with_hand(w, i, Hand(CLAIMING, True))

    @staticmethod
    def _owned(s: State, owner: int, i: int) -> State:
        return s.with_row(i, s.rows[i]._replace(owner=owner))

    def _has_slot(self, worker: Worker) -> bool:
        return sum(hand.doing != "" for hand in worker.hands) < self.slots

    @staticmethod
    def _may_hold_suspect(s: State, w: int) -> bool:
        is_unknown = s.late_claim[1:] == (w,)
        return not is_unknown and not any(row.owner == w and row.is_running_suspect for row in s.rows)
