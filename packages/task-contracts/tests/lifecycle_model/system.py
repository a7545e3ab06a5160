"""What PostgreSQL, RabbitMQ and each process know at one moment."""

from __future__ import annotations

from typing import Any, NamedTuple

from .rows import DECLARED_DEAD, Row

ALIVE, EXPIRED, DEAD = "alive", "expired", "dead"
"""The lease in a row of `workers`. An expired one can still be renewed, one that was declared dead cannot."""

WINDOW = 2
"""Messages that the leader keeps in the broker queue."""

NOTHING = -1
"""No task."""

CLAIMING, RUNNING = "claiming", "running"


class InFlight(NamedTuple):
    """What a worker does with one task: nothing (""), CLAIMING, RUNNING, or the event that it has yet to record.

    `token_is_current`: whether the token that the worker remembers is still the row's.
    """

    doing: str = ""
    token_is_current: bool = False


IDLE = InFlight()
"""Nothing: the task is not in flight here."""


class Worker(NamedTuple):
    """A process under its present id: its lease, the task of its unacked message, what it has in flight by task."""

    lease: str = ALIVE
    delivery: int = NOTHING
    in_flight: tuple[InFlight, ...] = (IDLE,)


NEVER_PAUSED, PAUSED, OVER, RESUMED = "never paused", "paused", "over, not settled", "resumed"
"""What a pause that covers all tasks does: it may come once, and ends."""


class State(NamedTuple):
    """The whole system at one moment.

    `marked`: the task that the leader has marked and not yet published. `late_claim`: (task, owner) of a claim that its
    worker gave up and that the server may still commit. `broken`: the promise that the last step broke.
    """

    workers: tuple[Worker, ...]
    rows: tuple[Row, ...]
    messages: tuple[int, ...] = ()
    marked: int = NOTHING
    late_claim: tuple[int, int] | tuple[()] = ()
    is_broker_up: bool = True
    pause: str = NEVER_PAUSED
    broken: str = ""

    def with_row(self, i: int, row: Row) -> State:
        """Return the state with row i replaced."""
        return self._replace(rows=put(self.rows, i, row))

    def with_worker(self, w: int, **changes: Any) -> State:
        """Return the state with worker w changed."""
        return self._replace(workers=put(self.workers, w, self.workers[w]._replace(**changes)))

    def with_in_flight(self, w: int, i: int, entry: InFlight) -> State:
        """Return the state with another entry for task i at worker w."""
        return self.with_worker(w, in_flight=put(self.workers[w].in_flight, i, entry))

    def with_message(self, i: int) -> State:
        """Return the state with one more message; more than WINDOW + 1 (duplicates) would add nothing new."""
        if len(self.messages) > WINDOW:
            return self
        return self._replace(messages=tuple(sorted((*self.messages, i))))

    def without_message(self, i: int) -> State:
        """Return the state without one of the messages for task i."""
        at = self.messages.index(i)
        return self._replace(messages=self.messages[:at] + self.messages[at + 1 :])

    def with_token_renewed(self, i: int) -> State:
        """Return the state after the row got another token: none that a worker remembers is current."""
        workers = tuple(
            worker._replace(in_flight=put(worker.in_flight, i, worker.in_flight[i]._replace(token_is_current=False)))
            for worker in self.workers
        )
        return self._replace(workers=workers)

    def with_owner(self, old: int, new: int) -> State:
        """Return the state with `new` as the owner of everything that `old` owned, a late claim included."""
        rows = tuple(row._replace(owner=new) if row.owner == old else row for row in self.rows)
        late = self.late_claim
        return self._replace(rows=rows, late_claim=(late[0], new) if late and late[1] == old else late)

    def is_dead(self, owner: int) -> bool:
        """Whether this owner was declared dead, so that the sweep may take its tasks."""
        return owner == DECLARED_DEAD or (owner >= 0 and self.workers[owner].lease == DEAD)

    def breaking(self, promise: str) -> State:
        """Return the state with the promise that the step to it broke; the first one noted stays."""
        return self if self.broken else self._replace(broken=promise)


def start(*rows: Row, workers: int = 2) -> State:
    """Return the first state: these rows in the table, and nothing has happened yet."""
    return State((Worker(in_flight=(IDLE,) * len(rows)),) * workers, rows)


def put(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    """Return the tuple with one item replaced."""
    return (*items[:index], item, *items[index + 1 :])


def without_names(state: State) -> State:
    """Return the same state for two that differ only in which worker is called w0 and which w1."""
    if len(state.workers) == 1 or state.workers[0] < state.workers[1]:
        return state
    swapped = _swapped(state)
    return swapped if state.workers[1] < state.workers[0] else min(state, swapped)


def _swapped(state: State) -> State:
    rows = tuple(row._replace(owner=1 - row.owner) if row.owner >= 0 else row for row in state.rows)
    late = state.late_claim
    if late and late[1] >= 0:
        late = (late[0], 1 - late[1])
    return state._replace(workers=state.workers[::-1], rows=rows, late_claim=late)
