"""Breadth-first search of a model, and the steps to the state that breaks a promise."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from .promises import broken_promise, forget
from .steps import Model
from .system import State, without_names


class Found(NamedTuple):
    """What a search found: a broken promise with the fewest steps that lead to it; an empty text if none breaks."""

    promise: str
    trace: tuple[str, ...]


class Search:
    """Every state that a model can reach, each with the step that led to it first."""

    def __init__(self, model: Model, names_workers: bool) -> None:
        self._model = model
        self._names_workers = names_workers
        self._number: dict[State, int] = {}
        self._states: list[State] = []
        self._origin: list[tuple[int, str]] = []
        self._sources, self._targets = array("I"), array("I")  # the good steps

    def run(self) -> Found:
        """Visit every state, breadth first, up to the first broken promise; then look for a stranded task."""
        self._visit(self._model.start, -1, "")
        for n, state in enumerate(self._states):  # the list grows in this loop
            if promise := broken_promise(state):
                return self._found(promise, n)
            for step in self._model.steps(state):
                m = self._visit(step.after, n, step.label)
                if step.is_good and m != n:
                    self._sources.append(n)
                    self._targets.append(m)
        return self._find_stranded()

    def _visit(self, state: State, origin: int, label: str) -> int:
        key = forget(state) if self._names_workers else without_names(forget(state))
        n = self._number.setdefault(key, len(self._states))
        if n == len(self._states):
            self._states.append(key)
            self._origin.append((origin, label))
        return n

    def _find_stranded(self) -> Found:
        """P1: from every state, good steps alone can bring every task to an end."""
        can_end = bytearray(all(row.is_finished for row in state.rows) for state in self._states)
        has_changed = True
        while has_changed:
            has_changed = False
            for k in range(len(self._sources) - 1, -1, -1):
                if can_end[self._targets[k]] and not can_end[self._sources[k]]:
                    can_end[self._sources[k]] = has_changed = True
        n = can_end.find(0)
        if n < 0:
            return self._found("", 0)
        return self._found(f"P1: stranded {', '.join(row.status for row in self._states[n].rows)}", n)

    def _found(self, promise: str, n: int) -> Found:
        trace: list[str] = []
        while n > 0:
            n, label = self._origin[n]
            trace.append(label)
        return Found(promise, tuple(reversed(trace)))


def explore(model: Model, names_workers: bool = False) -> Found:
    """Search the model. With `names_workers` equal workers are told apart: readable traces, twice the states."""
    return Search(model, names_workers).run()
