"""Each of the two tables has no contradiction, and neither contradicts the other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

import pytest

from task_contracts import TaskStatus, limits
from task_contracts.lifecycle import (
    CANCELLATION,
    COLUMN_RULES,
    LIFECYCLE,
    RECORD,
    SUSPECT_LOST_COUNT,
    SWEEP,
    Actor,
    Event,
    Guard,
    Presence,
    Transition,
    Write,
    refusal,
    sources,
)

NEVER, ALWAYS, MAYBE = Presence.NEVER, Presence.ALWAYS, Presence.MAYBE

SETS = {
    Write.DISPATCHED: {"dispatched_at"},
    Write.LEASE: {"lease_token", "worker_id", "started_at"},
    Write.ERROR: {"error"},
    Write.FINISHED: {"finished_at"},
    Write.WORKER_LOST: {"error"},
    Write.UNKNOWN_TYPE: {"error"},
    Write.FINGERPRINT: {"fingerprint"},
    Write.CANCEL_REQUEST: {"cancel_requested_at"},
}
MAY_SET = {Write.RESULT: {"result"}}  # a handler may return nothing
CLEARS = {
    Write.UNDISPATCHED: {"dispatched_at"},
    Write.RESULT: {"error"},
    Write.FRESH_RUN: {
        "started_at",
        "finished_at",
        "worker_id",
        "lease_token",
        "cancel_requested_at",
        "result",
        "error",
        "fingerprint",
    },
}
SHOWS = {  # what a guard says of a column before the event
    Guard.NOT_DISPATCHED: ("dispatched_at", NEVER),
    Guard.CANCEL_REQUESTED: ("cancel_requested_at", ALWAYS),
    Guard.NO_CANCEL_REQUESTED: ("cancel_requested_at", NEVER),
}


def afterwards(transition: Transition, source: TaskStatus, column: str) -> Presence:
    """Return what a column holds after the event, from what the table says about it before."""
    shown = dict(SHOWS[guard] for guard in transition.guards if guard in SHOWS)
    presence = shown.get(column, COLUMN_RULES[column][source])
    if any(column in CLEARS.get(write, ()) for write in transition.writes):
        presence = NEVER
    if any(column in MAY_SET.get(write, ()) for write in transition.writes):
        presence = MAYBE
    if any(column in SETS.get(write, ()) for write in transition.writes):
        presence = ALWAYS
    return presence


def test_every_event_has_its_own_transition_in_the_order_of_the_enum() -> None:
    assert list(LIFECYCLE) == list(Event)
    assert all(transition.event is event for event, transition in LIFECYCLE.items())


@pytest.mark.parametrize(
    ("event", "source"),
    [(event, source) for event, transition in LIFECYCLE.items() for source in sorted(transition.sources)],
)
def test_an_event_leads_from_a_possible_row_to_a_possible_row(event: Event, source: TaskStatus) -> None:
    transition = LIFECYCLE[event]
    target = transition.target or source
    if event is Event.PURGE:
        return

    for column, rule in COLUMN_RULES.items():
        assert rule[target] in {MAYBE, afterwards(transition, source, column)}, f"{column} after {event} from {source}"


def test_a_created_row_is_a_possible_row() -> None:
    transition = LIFECYCLE[Event.CREATE]

    assert transition.target is TaskStatus.NEW
    assert all(rule[TaskStatus.NEW] is NEVER for rule in COLUMN_RULES.values())
    assert not transition.sources


def test_every_status_can_be_reached_and_every_status_can_be_left() -> None:
    assert {transition.target for transition in LIFECYCLE.values()} == {*TaskStatus, None}
    assert {status for transition in LIFECYCLE.values() for status in transition.sources} == set(TaskStatus)


def test_only_rerun_and_purge_lead_out_of_a_terminal_status() -> None:
    terminal = {status for status in TaskStatus if status.is_terminal}

    leaving = {event for event, transition in LIFECYCLE.items() if transition.sources & terminal}
    assert leaving == {Event.RERUN, Event.PURGE}
    assert all(LIFECYCLE[event].sources <= terminal for event in leaving)
    assert TaskStatus.COMPLETED not in LIFECYCLE[Event.RERUN].sources


def test_only_the_events_of_record_sweep_and_the_request_to_cancel_touch_a_running_task() -> None:
    running = {event for event, transition in LIFECYCLE.items() if TaskStatus.IN_PROGRESS in transition.sources}

    assert running == {*RECORD, *SWEEP, Event.REQUEST_CANCEL}
    assert all(LIFECYCLE[event].sources == {TaskStatus.IN_PROGRESS} for event in running)


def test_every_terminal_status_comes_with_its_time_and_failure_with_its_error() -> None:
    for transition in LIFECYCLE.values():
        is_end = transition.target is not None and transition.target.is_terminal
        assert (Write.FINISHED in transition.writes) == is_end, transition.event
        if transition.target is TaskStatus.FAILED:
            assert {Write.ERROR, Write.WORKER_LOST, Write.UNKNOWN_TYPE} & set(transition.writes), transition.event


def test_whatever_comes_back_to_pending_can_be_dispatched_again() -> None:
    back = [
        transition
        for transition in LIFECYCLE.values()
        if transition.target is TaskStatus.PENDING and transition.event is not Event.DISPATCH
    ]

    assert {transition.event for transition in back} == {
        Event.RETRY,
        Event.SNOOZE,
        Event.RELEASE,
        Event.RESCUE,
        Event.RERUN,
    }
    assert all(Write.UNDISPATCHED in transition.writes for transition in back)


def test_a_record_is_fenced_by_its_token_and_a_sweep_by_the_death_of_the_worker() -> None:
    fenced = {event for event, transition in LIFECYCLE.items() if Guard.LEASE_TOKEN in transition.guards}
    swept = {event for event, transition in LIFECYCLE.items() if Guard.WORKER_DEAD in transition.guards}

    assert fenced == set(RECORD)
    assert swept == set(SWEEP)
    assert all(LIFECYCLE[event].by is Actor.WORKER for event in RECORD)
    assert all(LIFECYCLE[event].by is Actor.LEADER for event in SWEEP)


def holds(guards: Iterable[Guard], is_cancel_requested: bool, lost_count: int, was_draining: bool) -> bool:
    facts = {
        Guard.LEASE_TOKEN: True,
        Guard.WORKER_DEAD: True,
        Guard.CANCEL_REQUESTED: is_cancel_requested,
        Guard.NO_CANCEL_REQUESTED: not is_cancel_requested,
        Guard.BEARABLE_LOSS: lost_count + 1 < limits.LOSSES_MAX or was_draining,
        Guard.FATAL_LOSS: lost_count + 1 == limits.LOSSES_MAX and not was_draining,
    }
    return all(facts[guard] for guard in guards)


ROWS = list(product([False, True], range(limits.LOSSES_MAX), [False, True]))


@pytest.mark.parametrize(("is_cancel_requested", "lost_count", "was_draining"), ROWS)
def test_of_the_sweep_exactly_one_event_holds_for_a_dead_workers_task(
    is_cancel_requested: bool, lost_count: int, was_draining: bool
) -> None:
    holding = [e for e in SWEEP if holds(LIFECYCLE[e].guards, is_cancel_requested, lost_count, was_draining)]

    assert len(holding) == 1


def test_the_guards_of_the_sweep_exclude_one_another() -> None:
    for one, other in combinations(SWEEP, 2):
        both = (*LIFECYCLE[one].guards, *LIFECYCLE[other].guards)
        assert not any(holds(both, *row) for row in ROWS), (one, other)


@pytest.mark.parametrize("is_cancel_requested", [False, True])
@pytest.mark.parametrize("asked", [event for event in RECORD if event is not Event.CONFIRM_CANCEL])
def test_a_record_always_finds_an_event_and_completion_counts_whatever_was_asked(
    asked: Event, is_cancel_requested: bool
) -> None:
    choice = {asked, Event.CONFIRM_CANCEL}
    event = next(e for e in RECORD if e in choice and holds(LIFECYCLE[e].guards, is_cancel_requested, 0, False))

    assert event is (asked if asked is Event.COMPLETE or not is_cancel_requested else Event.CONFIRM_CANCEL)


def test_delete_has_an_event_for_every_status_that_is_not_terminal_and_never_two() -> None:
    sources = [LIFECYCLE[event].sources for event in CANCELLATION]

    assert frozenset.union(*sources) == {status for status in TaskStatus if not status.is_terminal}
    assert not frozenset.intersection(*sources)


def test_a_suspect_is_one_loss_away_from_the_end() -> None:
    assert SUSPECT_LOST_COUNT == limits.LOSSES_MAX - 1
    assert Guard.NOT_SUSPECT in LIFECYCLE[Event.DISPATCH].guards
    assert Guard.LONE_SUSPECT in LIFECYCLE[Event.CLAIM].guards


def test_every_guard_and_every_write_is_used() -> None:
    assert {guard for transition in LIFECYCLE.values() for guard in transition.guards} == set(Guard)
    assert {write for transition in LIFECYCLE.values() for write in transition.writes} == set(Write)


def test_every_column_has_a_rule_for_every_status() -> None:
    assert all(list(rule) == list(TaskStatus) for rule in COLUMN_RULES.values())


def test_a_refusal_names_the_status_and_the_ways_that_exist() -> None:
    assert refusal(TaskStatus.COMPLETED, *CANCELLATION) == (
        "a COMPLETED task cannot change by CANCEL (from NEW, PENDING) or REQUEST_CANCEL (from IN_PROGRESS)"
    )
    assert refusal(TaskStatus.NEW, Event.RERUN) == "a NEW task cannot change by RERUN (from FAILED, CANCELLED)"


def test_a_status_is_waiting_or_running_or_terminal() -> None:
    for status in TaskStatus:
        is_running = status is TaskStatus.IN_PROGRESS
        assert status.is_waiting + is_running + status.is_terminal == 1


def test_sources_of_several_events_are_those_of_any_of_them() -> None:
    assert sources(Event.CLAIM) == {status for status in TaskStatus if status.is_waiting}
    assert sources(*CANCELLATION) == {status for status in TaskStatus if not status.is_terminal}
    assert sources() == frozenset()
