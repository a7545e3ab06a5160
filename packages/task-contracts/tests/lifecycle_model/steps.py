"""Who does what between two statements, and what can go wrong: every step from a state."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from task_contracts.lifecycle import Event, Guard

from .rows import CRASHED, DECLARED_DEAD, Due
from .statements import Fault, Protection, Statements
from .system import (
    ALIVE,
    CLAIMING,
    DEAD,
    EXPIRED,
    IDLE,
    NEVER_PAUSED,
    NOTHING,
    OVER,
    PAUSED,
    RESUMED,
    RUNNING,
    WINDOW,
    InFlight,
    State,
)

ATTEMPTS = 2
"""max_attempts of every task."""

CALLERS = (Event.CANCEL, Event.REQUEST_CANCEL, Event.RESCHEDULE, Event.RERUN, Event.REJECT, Event.PURGE)
"""Events that come from outside the protocol."""

ON_REQUEST = frozenset({Guard.NOT_PAUSED, Guard.TYPE_UNKNOWN, Guard.FINISHED_BEFORE_CUTOFF, Guard.KEY_NOT_FRESH})
"""Guards that hold whenever their event is asked for."""

MARKABLE = frozenset({Guard.NOT_PAUSED})
WAS_PAUSED = frozenset({Guard.PAUSE_OVER})

READ_AT_BEGIN = frozenset({Guard.TYPE_OFFERED, Guard.WORKER_ALIVE, Guard.LONE_SUSPECT, Guard.NOT_PAUSED})
"""Guards that a claim reads from other rows when it begins."""


class Step(NamedTuple):
    """One step: what happens, whether it is the system at work (not a fault or a request), and the state after it."""

    label: str
    is_good: bool
    after: State


class Model(Statements):
    """Everything that can happen next: the processes at work, callers, faults and time."""

    def steps(self, s: State) -> Iterator[Step]:
        """Every step from this state."""
        each = range(len(s.workers))
        is_busy = False
        for step in chain(self._leader(s), self._late_claim(s), *(self._worker(s, w) for w in each)):
            is_busy |= step.is_good
            yield step
        for w in each:  # a handler may take any time: 2 s pass while it runs
            yield from self._attempt(s, w)
        yield from self._callers(s)
        yield from self._operator(s)
        yield from self._faults(s)
        yield from self._time(s, may_be_long=not (self.slow_time and is_busy))

    # ---------------------------------------------------------------------------------------------- leader

    def _leader(self, s: State) -> Iterator[Step]:
        idle = s._replace(marked=NOTHING)
        if s.marked == NOTHING:
            yield from self._dispatch(s)
        elif not s.is_broker_up:
            yield Step(f"leader: cannot publish t{s.marked}", True, idle)
        elif self.has(Protection.MARK_FIRST):
            yield Step(f"leader: publish t{s.marked}", True, idle.with_message(s.marked))
        else:
            after = self.update(idle, s.marked, Event.DISPATCH, MARKABLE) or idle
            yield Step(f"leader: mark t{s.marked} at last", True, after)
        for i in range(len(s.rows)):
            if self.has(Protection.SWEEP_ALL_DEAD) and (swept := self.sweep(s, i)):
                yield Step(f"leader: sweep t{i} to {swept.rows[i].status}", True, swept)
        yield from self._settle(s)
        yield from self._declare_dead(s)

    def _settle(self, s: State) -> Iterator[Step]:
        """Take back the marks of what a pause covered, one by one; then all may be marked again."""
        if s.pause != OVER or s.marked != NOTHING:
            return
        taken = [self.update(s, i, Event.UNDISPATCH, WAS_PAUSED) for i in range(len(s.rows))]
        if not self.has(Protection.MARKS_TAKEN_BACK) or not any(taken):
            rows = s.rows
            if self.has(Protection.POLL_LEAVES_TO_LEADER):  # for 2 s from now on
                rows = tuple(row._replace(due=Due.DUE) if row.due == Due.LONG_DUE else row for row in rows)
            yield Step("leader: the pause is settled", True, s._replace(pause=RESUMED, rows=rows))
            return
        for i, after in enumerate(taken):
            if after:
                yield Step(f"leader: take back the mark of t{i}", True, after)

    def _dispatch(self, s: State) -> Iterator[Step]:
        if s.pause in (PAUSED, OVER):
            return
        for i in range(len(s.rows)):
            marked = self.update(s, i, Event.DISPATCH, MARKABLE)
            if not marked or not s.is_broker_up or len(s.messages) >= WINDOW:
                continue
            if self.has(Protection.MARK_FIRST):
                yield Step(f"leader: mark t{i}", True, marked._replace(marked=i))
            else:
                yield Step(f"leader: publish t{i}, about to mark it", True, s.with_message(i)._replace(marked=i))

    def _declare_dead(self, s: State) -> Iterator[Step]:
        declared = [
            (f"w{w}", s.with_worker(w, lease=DEAD)) for w, worker in enumerate(s.workers) if worker.lease == EXPIRED
        ]
        if any(row.owner == CRASHED for row in s.rows) or (s.late_claim and s.late_claim[1] == CRASHED):
            declared.append(("the crashed worker", s.with_owner(CRASHED, DECLARED_DEAD)))
        for who, after in declared:
            for i, row in enumerate(s.rows):
                if not self.has(Protection.SWEEP_ALL_DEAD) and not s.is_dead(row.owner):
                    after = self.sweep(after, i) or after
            yield Step(f"leader: declare {who} dead", True, after)

    # ---------------------------------------------------------------------------------------------- worker

    def _worker(self, s: State, w: int) -> Iterator[Step]:
        yield from self._delivery(s, w)
        yield from self._own(s, w)
        yield from self._poll(s, w)
        yield from self._answer(s, w)
        yield from self._heartbeat(s, w)

    def _delivery(self, s: State, w: int) -> Iterator[Step]:
        worker = s.workers[w]
        i = worker.delivery
        if i == NOTHING:
            for j in set(s.messages) if s.is_broker_up and self._has_slot(worker) else ():
                got = s.with_worker(w, delivery=j)
                yield Step(f"w{w}: delivery of t{j}", True, got.without_message(j))
                if Fault.MESSAGE_TWICE in self.faults:
                    yield Step(f"w{w}: delivery of t{j}, which stays in the broker", False, got)
            return
        acked = s.with_worker(w, delivery=NOTHING)
        if worker.in_flight[i].doing == CLAIMING:
            return  # unacked while the outcome of its claim is unknown
        if not self._has_slot(worker):
            yield Step(f"w{w}: put t{i} back", True, acked.with_message(i))
        elif claimed := self.claim(s, w, i):
            yield Step(f"w{w}: CLAIM t{i}", True, claimed)
            yield from self._given_up(acked, w, i)
        else:
            yield Step(f"w{w}: CLAIM t{i} returns nothing, ack", True, acked)

    def _own(self, s: State, w: int) -> Iterator[Step]:
        """Let a worker try what is due without a message, as the one that leads may do; nothing may rely on it."""
        for i in range(len(s.rows)):
            if claimed := self.claim(s, w, i):
                yield Step(f"w{w}: CLAIM t{i} without a message", False, claimed)
                yield from self._given_up(s, w, i)

    def _poll(self, s: State, w: int) -> Iterator[Step]:
        for i, row in enumerate(s.rows):
            is_candidate = row.due == Due.LONG_DUE or not self.has(Protection.POLL_WAITS)
            left_to_leader = s.pause == OVER and self.has(Protection.POLL_LEAVES_TO_LEADER)
            if not self.has(Protection.POLL) or not is_candidate or left_to_leader:
                continue
            if claimed := self.claim(s, w, i, by_poll=True):
                if self.slow_time and not self.faults:
                    claimed = claimed.breaking("I12: the poll found something without a fault")
                yield Step(f"w{w}: the poll CLAIMs t{i}", True, claimed)
                yield from self._given_up(s, w, i)

    def _given_up(self, s: State, w: int, i: int) -> Iterator[Step]:
        if Fault.CLAIM_GIVEN_UP in self.faults and not s.late_claim:
            yield Step(f"w{w}: gives up CLAIM t{i}", False, s._replace(late_claim=(i, w)))

    def _late_claim(self, s: State) -> Iterator[Step]:
        """End a claim that its worker gave up. The guards on the task itself are tested only when it commits."""
        if not s.late_claim:
            return
        i, owner = s.late_claim
        gone = s._replace(late_claim=())
        yield Step(f"the late CLAIM t{i} is rolled back", True, gone)
        if late := self.update(gone, i, Event.CLAIM, READ_AT_BEGIN):
            yield Step(f"the late CLAIM t{i} commits for {owner}", False, self._owned(late, owner, i))

    def _answer(self, s: State, w: int) -> Iterator[Step]:
        worker = s.workers[w]
        for i, entry in enumerate(worker.in_flight):
            if entry.doing != CLAIMING:
                continue
            acked = s.with_worker(w, delivery=NOTHING) if worker.delivery == i else s
            if worker.lease == ALIVE or not self.has(Protection.NO_LATE_START):
                after = acked.with_in_flight(w, i, entry._replace(doing=RUNNING))
                if worker.lease != ALIVE:
                    after = after.breaking("P2: a handler starts after the lease of its worker has expired")
                yield Step(f"w{w}: answer to CLAIM t{i}, run it", True, after)
            else:
                after = acked.with_in_flight(w, i, entry._replace(doing=Event.RELEASE))
                yield Step(f"w{w}: answer to CLAIM t{i}, too late to run it", True, after)
            if Fault.CLAIM_UNANSWERED in self.faults:
                yield Step(f"w{w}: the answer to CLAIM t{i} is lost", False, acked.with_in_flight(w, i, IDLE))

    def _attempt(self, s: State, w: int) -> Iterator[Step]:
        for i, entry in enumerate(s.workers[w].in_flight):
            done = s.with_in_flight(w, i, IDLE)
            for event in self._endings(s, w, i):
                after = self.record(done, i, event, entry.token_is_current)
                yield Step(f"w{w}: record {event} of t{i}{'' if after else ', zero rows'}", True, after or done)
                if after and Fault.RECORD_UNANSWERED in self.faults:
                    unanswered = after.with_in_flight(w, i, InFlight(event, entry.token_is_current))
                    yield Step(f"w{w}: the answer to {event} of t{i} is lost", False, unanswered)

    def _endings(self, s: State, w: int, i: int) -> list[Event]:
        row, doing = s.rows[i], s.workers[w].in_flight[i].doing
        if doing != RUNNING:
            return [] if doing in ("", CLAIMING) else [Event(doing)]
        endings = [Event.COMPLETE, Event.FAIL]
        if row.failures + 1 < ATTEMPTS:
            endings.append(Event.RETRY)
        if Event.SNOOZE in self.requests:
            endings.append(Event.SNOOZE)
        if row.is_cancel_requested or s.workers[w].lease != ALIVE:
            endings.append(Event.RELEASE)  # told to stop, or without a lease
        return endings

    def _heartbeat(self, s: State, w: int) -> Iterator[Step]:
        worker = s.workers[w]
        if worker.lease == DEAD and self.has(Protection.DEAD_FOR_EVER):
            fresh = s.with_worker(w, lease=ALIVE, in_flight=(IDLE,) * len(s.rows)).with_owner(w, DECLARED_DEAD)
            yield Step(f"w{w}: finds its row dead, stops everything, takes a new id", True, fresh)
        elif worker.lease != ALIVE:
            yield Step(f"w{w}: renews its lease", True, s.with_worker(w, lease=ALIVE))
        else:
            for i in range(len(s.rows)):
                yield from self._reconcile(s, w, i)

    def _reconcile(self, s: State, w: int, i: int) -> Iterator[Step]:
        """Compare what the worker has in flight with the row of one task."""
        entry, row = s.workers[w].in_flight[i], s.rows[i]
        is_owned = row.owner == w and row.is_running
        is_known = entry.doing != "" and entry.token_is_current
        if entry.doing == RUNNING and not (is_owned and entry.token_is_current):
            yield Step(f"w{w}: reconcile: does not own t{i}, stop it", True, s.with_in_flight(w, i, IDLE))
        if entry.doing == CLAIMING and not self.has(Protection.RECONCILE_SPARES):
            is_known = False
        if not is_owned or is_known or not self.has(Protection.RECONCILE_RELEASES):
            return
        if released := self.record(s, i, Event.RELEASE, token_is_current=True):
            yield Step(f"w{w}: reconcile: owns t{i} under an unknown token, RELEASE", True, released)

    # ---------------------------------------------------------------------------------------------- from outside

    def _callers(self, s: State) -> Iterator[Step]:
        for i in range(len(s.rows)):
            for event in CALLERS:
                if event in self.requests and (after := self.update(s, i, event, ON_REQUEST)):
                    yield Step(f"{event} t{i}", False, after)
                    if event is Event.RESCHEDULE:
                        later = after.rows[i]._replace(due=Due.LATER)
                        yield Step(f"{event} t{i} for later", False, after.with_row(i, later))

    def _operator(self, s: State) -> Iterator[Step]:
        if self.pauses and s.pause == NEVER_PAUSED:
            yield Step("everything is paused", False, s._replace(pause=PAUSED))
        if s.pause == PAUSED:  # a good step: a pause that never ends keeps its tasks for ever
            yield Step("the pause is over", True, s._replace(pause=OVER))

    def _faults(self, s: State) -> Iterator[Step]:
        for w, worker in enumerate(s.workers):
            if Fault.WORKER_CRASH in self.faults:
                yield Step(f"w{w}: crash, and a new start", False, self._crashed(s, w))
            if Fault.WORKER_PAUSE in self.faults and worker.lease == ALIVE:
                yield Step(f"w{w}: paused, its lease expires", False, s.with_worker(w, lease=EXPIRED))
        if Fault.MESSAGE_LOST in self.faults:
            for i in set(s.messages):
                yield Step(f"the message for t{i} is lost", False, s.without_message(i))
        if Fault.BROKER_DOWN in self.faults and s.is_broker_up:
            workers = tuple(worker._replace(delivery=NOTHING) for worker in s.workers)
            down = s._replace(is_broker_up=False, messages=(), workers=workers)
            yield Step("the broker goes down for ever", False, down)
        if Fault.LEADER_CRASH in self.faults and s.marked != NOTHING:
            yield Step("leader: crash", False, s._replace(marked=NOTHING))

    @staticmethod
    def _crashed(s: State, w: int) -> State:
        """Start the worker again under a new id; the broker delivers its unacked message once more."""
        worker = s.workers[w]
        old_id = DECLARED_DEAD if worker.lease == DEAD else CRASHED
        fresh = s.with_worker(w, lease=ALIVE, delivery=NOTHING, in_flight=(IDLE,) * len(s.rows)).with_owner(w, old_id)
        return fresh if worker.delivery == NOTHING else fresh.with_message(worker.delivery)

    @staticmethod
    def _time(s: State, may_be_long: bool) -> Iterator[Step]:
        for i, row in enumerate(s.rows):
            if row.due == Due.LATER and not row.is_finished:
                yield Step(f"t{i} is due", True, s.with_row(i, row._replace(due=Due.DUE)))
            if row.due == Due.DUE and row.is_waiting and may_be_long:
                yield Step(f"t{i} has been due for 2 s", True, s.with_row(i, row._replace(due=Due.LONG_DUE)))
