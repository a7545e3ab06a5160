"""Says in one sentence why a task is where it is. Pure: what it says was read before."""

from __future__ import annotations

from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple, assert_never

from task_contracts import Explanation, Pause, Reason, TaskStatus, limits, printable_text, storable_text
from task_contracts.lifecycle import SUSPECT_LOST_COUNT
from task_store import Situation, Wait

_LONG_SECONDS = 30.0
"""After so long code should have stopped that was asked to, or whose time limit is over."""
_MESSAGE_CHARS = 300
_UNITS = ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"))


class _Why(NamedTuple):
    reason: Reason
    sentence: str
    facts: dict[str, Any]


def needs_wait(task: Situation) -> bool:
    """Return whether a task is due and waits: then what it waits for is to be read too."""
    return task.status in (TaskStatus.NEW, TaskStatus.PENDING) and task.due_at <= task.now


def explain(task: Situation, wait: Wait | None) -> Explanation:
    """Return why a task is where it is. `wait` is what it waits for, where `needs_wait` says so."""
    why = _why(task, wait)
    return Explanation(task_id=task.id, status=task.status, reason=why.reason, sentence=why.sentence, **why.facts)


def _why(task: Situation, wait: Wait | None) -> _Why:
    match task.status:
        case TaskStatus.NEW | TaskStatus.PENDING:
            why = _not_due(task) if wait is None else _due(task, wait)
            due_in = max(0.0, (task.due_at - task.now).total_seconds())
            return why._replace(facts={"due_at": task.due_at, "due_in_seconds": due_in, **why.facts})
        case TaskStatus.IN_PROGRESS:
            return _running(task)
        case TaskStatus.COMPLETED | TaskStatus.FAILED | TaskStatus.CANCELLED:
            return _ended(task)
        case _:
            assert_never(task.status)


def _not_due(task: Situation) -> _Why:
    due = f"due in {_duration(task.due_at - task.now)}, at {_moment(task.due_at)}"
    if task.failures:
        failed = f"{task.failures} attempts failed, the last" if task.failures > 1 else "an attempt failed"
        return _Why(Reason.RETRY_NOT_DUE, f"Waits for its next attempt, {due}: {failed}{_error(task)}.", {})
    if task.attempt:
        return _Why(Reason.NOT_DUE, f"Waits for its next attempt, which was put off: it is {due}.", {})
    return _Why(Reason.NOT_DUE, f"Waits for its time: it is {due}.", {})


def _due(task: Situation, wait: Wait) -> _Why:
    if wait.pause is not None:
        return _paused(wait.pause)
    if not wait.takers:
        verb = "drains" if wait.draining == 1 else "drain"
        drains = f"; {_count(wait.draining, 'worker')} of it {verb}" if wait.draining else ""
        return _Why(Reason.NO_WORKER, f"Waits: no live worker takes tasks of the queue {task.queue}{drains}.", {})
    if not wait.offering:
        return _unknown_type(task, wait)
    ahead, is_capped = min(wait.ahead, limits.AHEAD_MAX), wait.ahead > limits.AHEAD_MAX
    facts = {"ahead": ahead, "ahead_is_capped": is_capped}
    behind = f"behind {'more than ' if is_capped else 'about '}{_count(ahead, 'task')} of its queue, priority and type"
    slots = _slots(wait)
    if task.lost_count >= SUSPECT_LOST_COUNT:
        lost = f"{task.lost_count} workers were lost while they ran it"
        text = f"Waits as a suspect, since {lost}: a worker takes it from the table, one such task at a time."
        return _Why(Reason.SUSPECT, text, facts)
    if not wait.reaching_broker:
        text = "Waits: no worker that offers its type reaches the broker. The poll takes it from the table"
        return _Why(Reason.BROKER_DOWN, f"{text}{f', {behind}' if ahead else ''}; {slots}.", facts)
    if ahead:
        return _Why(Reason.BEHIND_OTHERS, f"Waits {behind}; {slots}.", facts)
    return _Why(Reason.NEXT, f"Waits as the next of its queue, priority and type; {slots}.", facts)


def _paused(pause: Pause) -> _Why:
    parts = [("the queue", pause.queue), ("the type", pause.type), ("the priority", pause.priority)]
    what = " and ".join(f"{word} {value}" for word, value in parts if value is not None) or "everything"
    by = f" by {printable_text(pause.paused_by)}" if pause.paused_by else ""
    until = f", until {_moment(pause.until)}" if pause.until is not None else ""
    reason = f": {printable_text(pause.reason)[:_MESSAGE_CHARS]}" if pause.reason else ""
    text = f"Waits: {what} is paused{by} since {_moment(pause.effective_at)}{until}{reason}."
    return _Why(Reason.PAUSED, text, {"pause_id": pause.id})


def _unknown_type(task: Situation, wait: Wait) -> _Why:
    similar = get_close_matches(task.type, wait.types, n=3)
    offers = "the only live worker" if wait.takers == 1 else f"none of the {wait.takers} live workers"
    verb = "does not offer" if wait.takers == 1 else "offers"
    text = f"Waits: {offers} of the queue {task.queue} {verb} the type {task.type}"
    text += f"; what is like it: {', '.join(similar)}." if similar else "."
    text += f" It fails unless one has offered it within {limits.UNKNOWN_TYPE_DAYS} days."
    return _Why(Reason.NO_WORKER_OFFERS_TYPE, text, {"similar_types": similar})


def _running(task: Situation) -> _Why:
    started_at = task.started_at or task.now
    facts = {**_worker_facts(task), "since": started_at}
    if not _has_lease(task):
        return _Why(Reason.LEASE_OVER, _lease_over(task), facts)
    running = f"attempt {task.attempt} {_where(task)}, for {_duration(task.now - started_at)}"
    if task.silent_seconds is not None:
        return _Why(Reason.WORKER_SILENT, f"Runs, as far as is known: {running}; {_silence(task)}.", facts)
    if task.cancel_requested_at is not None:
        asked = task.now - task.cancel_requested_at
        text = f"Was asked to stop {_duration(asked)} ago and still runs: {running}"
        if asked.total_seconds() < _LONG_SECONDS:
            return _Why(Reason.CANCEL_REQUESTED, f"{text}.", facts)
        return _Why(Reason.NOT_STOPPING, f"{text}. {_UNSTOPPABLE}", facts)
    limit = task.timeout_seconds
    if limit is not None and (task.now - started_at).total_seconds() > limit + _LONG_SECONDS:
        text = f"Is over its time limit of {limit:g} s and still runs: {running}"
        return _Why(Reason.NOT_STOPPING, f"{text}. {_UNSTOPPABLE}", facts)
    drains = "; its worker drains" if task.draining_at is not None else ""
    return _Why(Reason.RUNNING, f"Runs: {running}{drains}.", facts)


_UNSTOPPABLE = "Its code does not stop when asked, as a thread need not; only the end of that process ends it."


def _has_lease(task: Situation) -> bool:
    return task.expires_at is not None and task.dead_at is None and task.expires_at > task.now


def _silence(task: Situation) -> str:
    silent, left = timedelta(seconds=task.silent_seconds or 0), (task.expires_at or task.now) - task.now
    return (
        f"its worker has not been heard of for {_duration(silent)}, and is lost in {_duration(left)} if it stays silent"
    )


def _lease_over(task: Situation) -> str:
    if task.expires_at is None:
        gone = "is not known any more"
    elif task.dead_at is not None:
        gone = f"was declared dead {_duration(task.now - task.dead_at)} ago"
    else:
        gone = f"has been silent since its lease ended {_duration(task.now - task.expires_at)} ago"
    is_last = task.lost_count + 1 >= limits.LOSSES_MAX and task.draining_at is None
    then = "ends it as FAILED (worker_lost)" if is_last else "brings it back"
    if task.cancel_requested_at is not None:
        then = "ends it as CANCELLED"
    return f"Attempt {task.attempt} is lost: its worker {_worker(task)} {gone}. The sweep of the leader {then}."


def _ended(task: Situation) -> _Why:
    facts = {"since": task.finished_at}
    at = _moment(task.finished_at or task.now)
    if task.started_at is None:
        when = f"at {at}, before it began"
    elif task.finished_at is None:
        when = f"at {at}"
    else:
        facts |= _worker_facts(task)
        after = f"{_duration(task.finished_at - task.started_at)} after attempt {task.attempt} began"
        when = f"at {at}, {after} {_where(task)}"
    match task.status:
        case TaskStatus.COMPLETED:
            return _Why(Reason.COMPLETED, f"Completed {when}.", facts)
        case TaskStatus.CANCELLED:
            asked = " It was asked to stop while it ran." if task.cancel_requested_at is not None else ""
            return _Why(Reason.CANCELLED, f"Was cancelled {when}.{asked}", facts)
        case _:
            return _Why(Reason.FAILED, f"Failed {when},{_error(task)}.", facts)


def _slots(wait: Wait) -> str:
    workers = _count(wait.offering, "live worker")
    return f"{workers} with its type had {_count(max(0, wait.free_slots), 'free slot')} when last heard of"


def _worker_facts(task: Situation) -> dict[str, Any]:
    return {"worker_id": task.worker_id, "host": task.host or None, "pid": task.pid or None}


def _where(task: Situation) -> str:
    return f"on {_worker(task)}" if task.host else f"on worker {_worker(task)}"


def _worker(task: Situation) -> str:
    return f"{printable_text(task.host)} (pid {task.pid})" if task.host else str(task.worker_id)


def _error(task: Situation) -> str:
    if task.error is None:
        return ""
    text = printable_text(storable_text(task.error.message, _MESSAGE_CHARS)).rstrip(". ")
    return f" with {printable_text(task.error.code)}: {text}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _duration(duration: Any) -> str:
    """Return a time for people, rounded: `0.4 s`, `12 s`, `5 min`, `3 h`, `4 days`; none is below 0."""
    seconds = max(0.0, duration.total_seconds())
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
