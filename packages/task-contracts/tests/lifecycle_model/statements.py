"""The statements of the store, guarded by the table of events; each is one step of the model.

What protects a task beside the table is listed in `Protection`, so that a search can do without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from task_contracts import TaskStatus
from task_contracts.lifecycle import LIFECYCLE, RECORD, SWEEP, Event, Guard

from .rows import RENEWS_TOKEN, Table, is_allowed, written
from .system import ALIVE, CLAIMING, PAUSED, InFlight, State, Worker


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
    """What the protocol does beside the table. A model can go without any of them."""

    POLL = "the poll claims straight from the table"
    POLL_WAITS = "the poll waits until a task has been due for 2 s"
    MARK_FIRST = "the mark commits before the message is published"
    CASE_IN_RECORD = "a record turns into CONFIRM_CANCEL where a cancel was requested"
    CASE_IN_SWEEP = "the sweep turns into CANCEL_LOST where a cancel was requested"
    SWEEP_ALL_DEAD = "every sweep takes the tasks of all dead workers, not only of those that it declares dead"
    RECONCILE_RELEASES = "reconciling releases tasks that the worker owns and does not have in flight"
    RECONCILE_SPARES = "reconciling leaves claims alone that have no answer yet"
    NO_LATE_START = "no handler starts once the lease of its worker has expired"
    MARKS_TAKEN_BACK = "after a pause the leader takes back the marks of what it covered before it marks"
    POLL_LEAVES_TO_LEADER = "for a while after a pause the poll leaves what it covered to the leader"
    DEAD_FOR_EVER = "a worker that finds its row dead goes on under a new id"


DEAD_OWNER = frozenset({Guard.WORKER_DEAD})
TOKEN = frozenset({Guard.LEASE_TOKEN})
NOTHING_GIVEN: frozenset[Guard] = frozenset()


@dataclass(frozen=True)
class Statements:
    """What PostgreSQL does for each statement, under some faults, with some requests, without some protections.

    `pauses`: whether all tasks may be paused, once. `requests` are events that somebody may ask for at any time: those
    of CALLERS, and SNOOZE by a handler. With `slow_time`, 2 s pass only while nothing but handlers is at work. `slots`
    counts for each worker.
    """

    start: State
    faults: frozenset[Fault] = frozenset()
    requests: frozenset[Event] = frozenset()
    without: frozenset[Protection] = frozenset()
    table: Table = field(default_factory=lambda: LIFECYCLE, hash=False)
    slots: int = 2
    slow_time: bool = False
    pauses: bool = False

    def has(self, protection: Protection) -> bool:
        """Whether the model has this protection."""
        return protection not in self.without

    def update(self, s: State, i: int, event: Event, given: frozenset[Guard] = NOTHING_GIVEN) -> State | None:
        """Return the state after one event on task i, None for zero rows. Notes a change that P3 or P4 forbids."""
        transition, row = self.table[event], s.rows[i]
        if not is_allowed(transition, row, given):
            return None
        after = s.with_row(i, written(transition, row))
        if RENEWS_TOKEN.intersection(transition.writes):
            after = after.with_token_renewed(i)
        if row.is_finished and event not in (Event.RERUN, Event.PURGE):
            return after.breaking(f"P3: {event} changed a task that is {row.status}")
        if transition.target is TaskStatus.CANCELLED and event is not Event.CANCEL and not row.is_cancel_requested:
            return after.breaking(f"P4: {event} of a task that nobody cancelled")
        return after

    def record(self, s: State, i: int, asked: Event, token_is_current: bool) -> State | None:
        """End an attempt by the event that its worker asks for, or by the one that the CASE picks on the locked row."""
        given = TOKEN if token_is_current else NOTHING_GIVEN
        choice = {asked, Event.CONFIRM_CANCEL} if self.has(Protection.CASE_IN_RECORD) else {asked}
        event = next((e for e in RECORD if e in choice and is_allowed(self.table[e], s.rows[i], given)), None)
        after = self.update(s, i, event, given) if event else None
        return after.breaking(f"P3: {event} by a stale token") if after and not token_is_current else after

    def sweep(self, s: State, i: int) -> State | None:
        """End the attempt at task i if its worker was declared dead."""
        given = DEAD_OWNER if s.is_dead(s.rows[i].owner) else NOTHING_GIVEN
        events = [e for e in SWEEP if e is not Event.CANCEL_LOST or self.has(Protection.CASE_IN_SWEEP)]
        event = next((e for e in events if is_allowed(self.table[e], s.rows[i], given)), None)
        after = self.update(s, i, event, given) if event else None
        is_healthy = not self.faults & {Fault.WORKER_CRASH, Fault.WORKER_PAUSE}
        return after.breaking("P2: the sweep took a task of a healthy worker") if after and is_healthy else after

    def claim(self, s: State, w: int, i: int, by_poll: bool = False) -> State | None:
        """Claim task i; the answer is yet to come. A task that the worker has in flight is not claimed again."""
        worker = s.workers[w]
        if worker.in_flight[i].doing or not self._has_slot(worker):
            return None
        given = {Guard.TYPE_OFFERED}
        if worker.lease == ALIVE:
            given.add(Guard.WORKER_ALIVE)
        if s.pause != PAUSED:
            given.add(Guard.NOT_PAUSED)
        if not s.rows[i].is_suspect or (by_poll and self._may_hold_suspect(s, w)):
            given.add(Guard.LONE_SUSPECT)
        after = self.update(s, i, Event.CLAIM, frozenset(given))
        return after and self._owned(after, w, i).with_in_flight(w, i, InFlight(CLAIMING, True))

    @staticmethod
    def _owned(s: State, owner: int, i: int) -> State:
        return s.with_row(i, s.rows[i]._replace(owner=owner))

    def _has_slot(self, worker: Worker) -> bool:
        return sum(entry.doing != "" for entry in worker.in_flight) < self.slots

    @staticmethod
    def _may_hold_suspect(s: State, w: int) -> bool:
        is_unknown = s.late_claim[1:] == (w,)
        return not is_unknown and not any(row.owner == w and row.is_running_suspect for row in s.rows)
