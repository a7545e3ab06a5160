"""What PostgreSQL, RabbitMQ and each process know at one moment."""

from __future__ import annotations

from typing import Any, NamedTuple

from .rows import BURIED, Row

ALIVE, EXPIRED, DEAD = "alive", "expired", "dead"
"""What a row of `workers` says. Expired is not yet dead: it may still be renewed."""

WINDOW = 2
"""Messages that the leader keeps in the broker queue."""

NOTHING = -1
"""No task."""

CLAIMING, RUNNING = "claiming", "running"


class Hand(NamedTuple):
    """What a worker knows of one task: nothing (""), CLAIMING, RUNNING, or the event that it still owes a record."""

    doing: str = ""
    token_is_current: bool = False


class Worker(NamedTuple):
    """A process under its present id: its lease, the task of its unacked message, and its hands, one a task."""

    lease: str = ALIVE
    delivery: int = NOTHING
    hands: tuple[Hand, ...] = (Hand(),)


class State(NamedTuple):
    """Everything.

    `marked`: the task that the leader has marked and not yet published. `late_claim`: (task, owner) of a claim given
    up by its caller and still under way in the server. `broken`: a promise that the last step broke.
    """

    workers: tuple[Worker, ...]
    rows: tuple[Row, ...]
    messages: tuple[int, ...] = ()
    marked: int = NOTHING
    late_claim: tuple[int, int] | tuple[()] = ()
    is_broker_up: bool = True
    broken: str = ""

    def with_row(self, i: int, row: Row) -> State:
        """Return the state with row i replaced."""
        return self._replace(rows=put(self.rows, i, row))

    def with_worker(self, w: int, **changes: Any) -> State:
        """Return the state with worker w changed."""
        return self._replace(workers=put(self.workers, w, self.workers[w]._replace(**changes)))

    def with_hand(self, w: int, i: int, hand: Hand) -> State:
        """Return the state with what worker w knows of task i replaced."""
        return self.with_worker(w, hands=put(self.workers[w].hands, i, hand))

    def with_message(self, i: int) -> State:
        """Return the state with one more message; beyond WINDOW + 1 (duplicates) it would say nothing new."""
        if len(self.messages) > WINDOW:
            return self
        return self._replace(messages=tuple(sorted((*self.messages, i))))

    def without_message(self, i: int) -> State:
        """Return the state with one message for task i less."""
        at = self.messages.index(i)
        return self._replace(messages=self.messages[:at] + self.messages[at + 1 :])

    def with_token_renewed(self, i: int) -> State:
        """Return the state in which nobody remembers the row's token."""
        workers = tuple(
            worker._replace(hands=put(worker.hands, i, worker.hands[i]._replace(token_is_current=False)))
            for worker in self.workers
        )
        return self._replace(workers=workers)

    def with_owner(self, old: int, new: int) -> State:
        """Return the state in which what `old` owned belongs to `new`, a claim under way too."""
        rows = tuple(row._replace(owner=new) if row.owner == old else row for row in self.rows)
        late = self.late_claim
        return self._replace(rows=rows, late_claim=(late[0], new) if late and late[1] == old else late)

    def is_dead(self, owner: int) -> bool:
        """Whether the sweep may take from this owner."""
        return owner == BURIED or (owner >= 0 and self.workers[owner].lease == DEAD)

    def breaking(self, promise: str) -> State:
        """Return the state with a note of a promise that the step to it broke; the first one stays."""
        return self if self.broken else self._replace(broken=promise)


def start(*rows: Row, workers: int = 2) -> State:
    """Return a state in which these rows stand in the table and nobody has done anything."""
    return State((Worker(hands=(Hand(),) * len(rows)),) * workers, rows)


def put(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    """Return the tuple with one item replaced."""
    return (*items[:index], item, *items[index + 1 :])


def without_names(state: State) -> State:
    """Return one state for all that differ only in which of two equal workers is called w0."""
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
