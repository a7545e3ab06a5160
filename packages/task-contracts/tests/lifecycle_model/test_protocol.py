"""The models that are searched. A whole one breaks no promise; one without a protection breaks the promise named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from task_contracts import TaskStatus
from task_contracts.lifecycle import LIFECYCLE, SUSPECT_LOST_COUNT, Event, Guard, Write

from .rows import GIVEN_GUARDS, ROW_GUARDS, WRITES, Due, Row, Table
from .search import Found, explore
from .statements import Fault, Protection
from .steps import Model
from .system import State, start

FRESH = Row(TaskStatus.NEW, Due.DUE)
WORN = Row(TaskStatus.PENDING, Due.DUE, failures=1, lost_count=1)
"""With one failure and one loss behind it, a search needs a fifth of the states."""
SUSPECT = Row(TaskStatus.PENDING, Due.DUE, lost_count=SUSPECT_LOST_COUNT)

ONE, ONE_WORN, TWO = start(FRESH), start(WORN), start(FRESH, FRESH)
TWO_SUSPECTS = start(SUSPECT, SUSPECT, workers=1)

BROKER = (Fault.MESSAGE_LOST, Fault.MESSAGE_TWICE, Fault.BROKER_DOWN, Fault.LEADER_CRASH)
ANSWERS = (Fault.CLAIM_UNANSWERED, Fault.RECORD_UNANSWERED)
API = (Event.CANCEL, Event.REQUEST_CANCEL, Event.RERUN, Event.RESCHEDULE)
ALL_BUT_PAUSE = tuple(fault for fault in Fault if fault is not Fault.WORKER_PAUSE)


def a_model(
    at: State = ONE,
    faults: Iterable[Fault] = (),
    requests: Iterable[Event] = (),
    without: Iterable[Protection] = (),
    **options: Any,
) -> Model:
    return Model(at, frozenset(faults), frozenset(requests), frozenset(without), **options)


@cache
def explored(model: Model) -> Found:
    """Search an unchanged model once; several tests compare a changed one with it."""
    return explore(model)


def as_text(found: Found) -> str:
    """Return the promise and its trace, for the message of an assertion."""
    return "\n".join([found.promise, *found.trace])


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(a_model(slow_time=True), id="no faults, slow time"),
        pytest.param(a_model(without=[Protection.POLL]), id="no faults, no poll"),
        pytest.param(a_model(TWO, slow_time=True), id="two tasks, slow time"),
        pytest.param(a_model(TWO, slow_time=True, slots=1), id="two tasks, one slot, slow time"),
        pytest.param(
            a_model(requests=[*API, Event.SNOOZE, Event.REJECT, Event.PURGE], slow_time=True),
            id="every request, slow time",
        ),
        pytest.param(a_model(slow_time=True, pauses=True), id="a pause, slow time"),
        pytest.param(a_model(TWO, slow_time=True, slots=1, pauses=True), id="two tasks, a pause, slow time"),
    ],
)
def test_without_faults_every_task_ends_and_the_poll_finds_nothing(model: Model) -> None:
    found = explored(model)

    assert not found.promise, as_text(found)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(a_model(faults=BROKER), id="broker, leader"),
        pytest.param(a_model(TWO, faults=[Fault.MESSAGE_LOST, Fault.BROKER_DOWN]), id="two tasks, broker"),
        pytest.param(a_model(faults=[Fault.WORKER_CRASH, *ANSWERS]), id="crash, lost answers"),
        pytest.param(a_model(faults=[Fault.WORKER_CRASH, Fault.CLAIM_GIVEN_UP, Fault.MESSAGE_LOST]), id="crash, late"),
        pytest.param(a_model(ONE_WORN, faults=[Fault.WORKER_PAUSE, Fault.WORKER_CRASH]), id="pause, crash"),
        pytest.param(a_model(ONE_WORN, faults=[Fault.WORKER_PAUSE, Fault.CLAIM_GIVEN_UP]), id="pause, late claim"),
        pytest.param(a_model(ONE_WORN, faults=[Fault.WORKER_PAUSE, *ANSWERS]), id="pause, lost answers"),
        pytest.param(a_model(TWO_SUSPECTS, faults=[Fault.WORKER_CRASH, Fault.CLAIM_GIVEN_UP]), id="two suspects"),
        pytest.param(a_model(faults=BROKER, requests=API), id="requests, broker"),
        pytest.param(a_model(faults=[*BROKER, Fault.WORKER_CRASH], pauses=True), id="a pause, broker, crash"),
        pytest.param(a_model(faults=ANSWERS, requests=API), id="requests, lost answers"),
        pytest.param(a_model(faults=[Fault.WORKER_PAUSE], requests=[Event.RERUN]), id="rerun, pause"),
        pytest.param(
            a_model(ONE_WORN, faults=ALL_BUT_PAUSE, requests=[Event.CANCEL, Event.REQUEST_CANCEL]), id="all but pause"
        ),
    ],
)
def test_under_faults_nothing_is_stranded_and_no_valid_leases_overlap(model: Model) -> None:
    found = explored(model)

    assert not found.promise, as_text(found)


@pytest.mark.parametrize(
    ("protection", "model", "promise"),
    [
        (Protection.POLL, a_model(faults=[Fault.MESSAGE_LOST]), "P1"),
        (Protection.POLL, a_model(faults=[Fault.BROKER_DOWN]), "P1"),
        (Protection.POLL, a_model(faults=[Fault.LEADER_CRASH]), "P1"),
        (Protection.POLL_WAITS, a_model(slow_time=True), "I12"),
        (Protection.MARK_FIRST, a_model(slow_time=True), "I12"),
        (Protection.CASE_IN_RECORD, a_model(requests=[Event.REQUEST_CANCEL]), "P1"),
        (
            Protection.CASE_IN_SWEEP,
            a_model(ONE_WORN, faults=[Fault.WORKER_CRASH], requests=[Event.REQUEST_CANCEL]),
            "P1",
        ),
        (
            Protection.SWEEP_ALL_DEAD,
            a_model(ONE_WORN, faults=[Fault.WORKER_CRASH, Fault.CLAIM_GIVEN_UP]),
            "P1",
        ),
        (Protection.RECONCILE_RELEASES, a_model(faults=[Fault.CLAIM_UNANSWERED]), "P1"),
        (Protection.RECONCILE_SPARES, a_model(), "P2"),
        (Protection.NO_LATE_START, a_model(faults=[Fault.WORKER_PAUSE]), "P2"),
        (Protection.MARKS_TAKEN_BACK, a_model(slow_time=True, pauses=True), "I12"),
        (Protection.POLL_LEAVES_TO_LEADER, a_model(slow_time=True, pauses=True), "I12"),
        (Protection.DEAD_FOR_EVER, a_model(faults=[Fault.WORKER_PAUSE]), "P2"),
    ],
)
def test_a_protection_that_is_taken_away_breaks_its_promise(protection: Protection, model: Model, promise: str) -> None:
    with_it = explored(model)
    without_it = explore(replace(model, without=frozenset({protection})), names_workers=True)

    assert not with_it.promise, as_text(with_it)
    assert without_it.promise.startswith(promise), as_text(without_it)


def without_guard(event: Event, guard: Guard) -> Table:
    transition = LIFECYCLE[event]
    return {**LIFECYCLE, event: replace(transition, guards=tuple(g for g in transition.guards if g is not guard))}


def without_write(event: Event, write: Write) -> Table:
    transition = LIFECYCLE[event]
    return {**LIFECYCLE, event: replace(transition, writes=tuple(w for w in transition.writes if w is not write))}


def with_sources(event: Event, *changed: TaskStatus) -> Table:
    """Return the table with each of `changed` added to the sources of an event, or removed where it is one."""
    transition = LIFECYCLE[event]
    return {**LIFECYCLE, event: replace(transition, sources=transition.sources ^ frozenset(changed))}


PAUSE = a_model(faults=[Fault.WORKER_PAUSE])
SNOOZE_AND_PAUSE = a_model(faults=[Fault.WORKER_PAUSE], requests=[Event.SNOOZE])
CANCEL_AND_PAUSE = a_model(ONE_WORN, faults=[Fault.WORKER_PAUSE], requests=[Event.REQUEST_CANCEL])
CANCEL_AND_RERUN = a_model(requests=[Event.REQUEST_CANCEL, Event.RERUN])
CRASH = a_model(TWO_SUSPECTS, faults=[Fault.WORKER_CRASH, Fault.CLAIM_GIVEN_UP])


@pytest.mark.parametrize(
    ("table", "model", "promise"),
    [
        pytest.param(
            with_sources(Event.CLAIM, TaskStatus.NEW),
            a_model(faults=[Fault.BROKER_DOWN]),
            "P1",
            id="CLAIM refuses NEW",
        ),
        pytest.param(with_sources(Event.CLAIM, TaskStatus.IN_PROGRESS), PAUSE, "P2", id="CLAIM takes what runs"),
        pytest.param(
            with_sources(Event.CLAIM, TaskStatus.COMPLETED),
            a_model(faults=[Fault.MESSAGE_TWICE]),
            "P3",
            id="CLAIM takes what is COMPLETED",
        ),
        pytest.param(
            without_guard(Event.CLAIM, Guard.LONE_SUSPECT), CRASH, "suspects", id="CLAIM takes suspects like others"
        ),
        *(
            pytest.param(without_guard(event, Guard.LEASE_TOKEN), PAUSE, "P3", id=f"{event} without the token")
            for event in (Event.COMPLETE, Event.RETRY, Event.FAIL, Event.RELEASE)
        ),
        pytest.param(
            without_guard(Event.SNOOZE, Guard.LEASE_TOKEN), SNOOZE_AND_PAUSE, "P3", id="SNOOZE without the token"
        ),
        pytest.param(
            without_guard(Event.CONFIRM_CANCEL, Guard.LEASE_TOKEN),
            CANCEL_AND_PAUSE,
            "P3",
            id="CONFIRM_CANCEL without the token",
        ),
        pytest.param(
            without_guard(Event.CONFIRM_CANCEL, Guard.CANCEL_REQUESTED), PAUSE, "P4", id="CONFIRM_CANCEL by itself"
        ),
        pytest.param(without_guard(Event.RESCUE, Guard.WORKER_DEAD), PAUSE, "P2", id="RESCUE from the living"),
        pytest.param(with_sources(Event.ABANDON, TaskStatus.IN_PROGRESS), CRASH, "P1", id="ABANDON nothing"),
        pytest.param(without_guard(Event.DISPATCH, Guard.DUE), a_model(slow_time=True), "I12", id="DISPATCH early"),
        pytest.param(
            without_write(Event.RETRY, Write.UNDISPATCHED), a_model(slow_time=True), "I12", id="RETRY stays dispatched"
        ),
        pytest.param(
            without_write(Event.RERUN, Write.FRESH_RUN), CANCEL_AND_RERUN, "P4", id="RERUN keeps the cancel request"
        ),
    ],
)
def test_a_changed_transition_breaks_a_promise(table: Table, model: Model, promise: str) -> None:
    as_it_is, changed = explored(model), explore(replace(model, table=table), names_workers=True)

    assert not as_it_is.promise, as_text(as_it_is)
    assert changed.promise.startswith(promise), as_text(changed)


def test_the_model_knows_every_guard_and_every_write() -> None:
    assert ROW_GUARDS.keys() | GIVEN_GUARDS == set(Guard)
    assert not ROW_GUARDS.keys() & GIVEN_GUARDS
    assert WRITES.keys() == set(Write)
