"""The sentence and the reason for every state of the life cycle; times and worker as the database has them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest

from task_api.explanations import explain, needs_wait
from task_contracts import Pause, Priority, Reason, TaskError, TaskStatus
from task_store import Situation, Wait

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
WORKER = UUID("019ab5e1-0c1b-7d54-9a3e-2f4b8c6d7e01")
BROKE = TaskError(code="handler_error", message="it broke", type="RuntimeError")
SERVED = Wait(ahead=0, takers=2, draining=0, offering=2, reaching_broker=2, free_slots=3, types=())
PAUSE = Pause(
    id=WORKER,
    queue="default",
    priority=Priority.LOW,
    reason="the provider is\u202e down",
    paused_by="ann",
    created_at=datetime(2026, 11, 1, 11, tzinfo=UTC),
    effective_at=datetime(2026, 11, 1, 11, tzinfo=UTC),
    until=datetime(2026, 11, 1, 14, tzinfo=UTC),
)
SLOTS = "2 live workers with its type had 3 free slots when last heard of"


def ago(**since: float) -> datetime:
    return NOW - timedelta(**since)


def in_(**until: float) -> datetime:
    return NOW + timedelta(**until)


def a_task(status: TaskStatus = TaskStatus.NEW, **fields: Any) -> Situation:
    plain: dict[str, Any] = {
        "id": UUID("019ab5e2-5a4e-7c3d-8f21-6d0c5b7a9e10"),
        "status": status,
        "type": "report.build",
        "queue": "default",
        "priority": Priority.MEDIUM,
        "due_at": ago(minutes=1),
        "attempt": 0,
        "failures": 0,
        "lost_count": 0,
        "now": NOW,
    }
    missing = dict.fromkeys(set(Situation.__dataclass_fields__) - set(plain))
    return Situation(**{**missing, **plain, **fields})


def running(**fields: Any) -> Situation:
    held = {
        "attempt": 2,
        "started_at": ago(seconds=12),
        "worker_id": WORKER,
        "host": "web-1",
        "pid": 4711,
        "expires_at": in_(seconds=25),
    }
    return a_task(TaskStatus.IN_PROGRESS, **{**held, **fields})


def ended(status: TaskStatus, **fields: Any) -> Situation:
    return replace(running(**{"finished_at": ago(seconds=10), **fields}), status=status)


def wait(**fields: Any) -> Wait:
    return Wait(**{**{name: getattr(SERVED, name) for name in Wait.__dataclass_fields__}, **fields})


NOT_DUE = [
    (
        a_task(due_at=in_(minutes=5)),
        Reason.NOT_DUE,
        "Waits for its time: it is due in 5 min, at 2026-11-01T12:05:00Z.",
    ),
    (
        a_task(TaskStatus.PENDING, due_at=in_(seconds=4.24), attempt=3),
        Reason.NOT_DUE,
        "Waits for its next attempt, which was put off: it is due in 4.2 s, at 2026-11-01T12:00:04Z.",
    ),
    (
        a_task(TaskStatus.PENDING, due_at=in_(hours=3), attempt=3, failures=2, error=BROKE),
        Reason.RETRY_NOT_DUE,
        (
            "Waits for its next attempt, due in 3 h, at 2026-11-01T15:00:00Z: 2 attempts failed, the last with"
            " handler_error: it broke."
        ),
    ),
    (
        a_task(TaskStatus.PENDING, due_at=in_(days=3), attempt=1, failures=1, error=BROKE),
        Reason.RETRY_NOT_DUE,
        (
            "Waits for its next attempt, due in 3 days, at 2026-11-04T12:00:00Z: an attempt failed with handler_error:"
            " it broke."
        ),
    ),
]
DUE = [
    (
        a_task(),
        wait(pause=PAUSE),
        Reason.PAUSED,
        (
            "Waits: the queue default and the priority LOW is paused by ann since 2026-11-01T11:00:00Z, until"
            " 2026-11-01T14:00:00Z: the provider is\\u202e down."
        ),
    ),
    (
        a_task(),
        wait(
            pause=PAUSE.model_copy(
                update={"queue": None, "priority": None, "paused_by": "", "until": None, "reason": None}
            )
        ),
        Reason.PAUSED,
        "Waits: everything is paused since 2026-11-01T11:00:00Z.",
    ),
    (
        a_task(),
        wait(takers=0, offering=0, reaching_broker=0),
        Reason.NO_WORKER,
        "Waits: no live worker takes tasks of the queue default.",
    ),
    (
        a_task(),
        wait(takers=0, draining=1, offering=0, reaching_broker=0),
        Reason.NO_WORKER,
        "Waits: no live worker takes tasks of the queue default; 1 worker of it drains.",
    ),
    (
        a_task(type="report.biuld"),
        wait(offering=0, reaching_broker=0, types=("echo", "mail.send", "report.build")),
        Reason.NO_WORKER_OFFERS_TYPE,
        (
            "Waits: none of the 2 live workers of the queue default offers the type report.biuld; what is like it:"
            " report.build. It fails unless one has offered it within 7 days."
        ),
    ),
    (
        a_task(type="import"),
        wait(takers=1, offering=0, reaching_broker=0, types=("echo",)),
        Reason.NO_WORKER_OFFERS_TYPE,
        (
            "Waits: the only live worker of the queue default does not offer the type import. It fails unless one has"
            " offered it within 7 days."
        ),
    ),
    (
        a_task(TaskStatus.PENDING, lost_count=2),
        SERVED,
        Reason.SUSPECT,
        (
            "Waits as a suspect, since 2 workers were lost while they ran it: a worker takes it from the table,"
            " one such"
            " task at a time."
        ),
    ),
    (
        a_task(),
        wait(reaching_broker=0, ahead=17),
        Reason.BROKER_DOWN,
        (
            "Waits: no worker that offers its type reaches the broker. The poll takes it from the table, behind"
            " about 17"
            f" tasks of its queue, priority and type; {SLOTS}."
        ),
    ),
    (
        a_task(),
        wait(reaching_broker=0),
        Reason.BROKER_DOWN,
        f"Waits: no worker that offers its type reaches the broker. The poll takes it from the table; {SLOTS}.",
    ),
    (
        a_task(),
        wait(ahead=1),
        Reason.BEHIND_OTHERS,
        f"Waits behind about 1 task of its queue, priority and type; {SLOTS}.",
    ),
    (
        a_task(TaskStatus.PENDING),
        wait(ahead=1001, offering=1, free_slots=-2),
        Reason.BEHIND_OTHERS,
        (
            "Waits behind more than 1,000 tasks of its queue, priority and type; 1 live worker with its type had 0 free"
            " slots when last heard of."
        ),
    ),
    (a_task(), SERVED, Reason.NEXT, f"Waits as the next of its queue, priority and type; {SLOTS}."),
]
STOPS_NOT = "Its code does not stop when asked, as a thread need not; only the end of that process ends it."
HELD = [
    (running(), Reason.RUNNING, "Runs: attempt 2 on web-1 (pid 4711), for 12 s."),
    (
        running(host=None, pid=None, draining_at=ago(seconds=1)),
        Reason.RUNNING,
        f"Runs: attempt 2 on worker {WORKER}, for 12 s; its worker drains.",
    ),
    *(
        (
            running(silent_seconds=12.0, expires_at=in_(seconds=18), **fields),
            Reason.WORKER_SILENT,
            (
                "Runs, as far as is known: attempt 2 on web-1 (pid 4711), for 12 s; its worker has not been heard of"
                " for 12 s, and is lost in 18 s if it stays silent."
            ),
        )
        for fields in ({}, {"cancel_requested_at": ago(minutes=2)}, {"draining_at": ago(seconds=20)})
    ),
    (
        running(cancel_requested_at=ago(seconds=3)),
        Reason.CANCEL_REQUESTED,
        "Was asked to stop 3.0 s ago and still runs: attempt 2 on web-1 (pid 4711), for 12 s.",
    ),
    (
        running(cancel_requested_at=ago(seconds=130), started_at=ago(days=2)),
        Reason.NOT_STOPPING,
        f"Was asked to stop 2 min ago and still runs: attempt 2 on web-1 (pid 4711), for 2 days. {STOPS_NOT}",
    ),
    (
        running(timeout_seconds=10, started_at=ago(seconds=39)),
        Reason.RUNNING,
        "Runs: attempt 2 on web-1 (pid 4711), for 39 s.",
    ),
    (
        running(timeout_seconds=10, started_at=ago(seconds=41)),
        Reason.NOT_STOPPING,
        f"Is over its time limit of 10 s and still runs: attempt 2 on web-1 (pid 4711), for 41 s. {STOPS_NOT}",
    ),
    (
        running(expires_at=ago(seconds=5)),
        Reason.LEASE_OVER,
        (
            "Attempt 2 is lost: its worker web-1 (pid 4711) has been silent since its lease ended 5.0 s ago. The"
            " sweep of"
            " the leader brings it back."
        ),
    ),
    (
        running(expires_at=ago(seconds=35), dead_at=ago(seconds=25), lost_count=2),
        Reason.LEASE_OVER,
        (
            "Attempt 2 is lost: its worker web-1 (pid 4711) was declared dead 25 s ago. The sweep of the leader ends it"
            " as FAILED (worker_lost)."
        ),
    ),
    (
        running(expires_at=in_(seconds=5), dead_at=ago(seconds=25), lost_count=2, draining_at=ago(seconds=40)),
        Reason.LEASE_OVER,
        (
            "Attempt 2 is lost: its worker web-1 (pid 4711) was declared dead 25 s ago. The sweep of the leader"
            " brings it"
            " back."
        ),
    ),
    (
        running(expires_at=None, host=None, cancel_requested_at=ago(seconds=90)),
        Reason.LEASE_OVER,
        (
            f"Attempt 2 is lost: its worker {WORKER} is not known any more. The sweep of the leader ends it as"
            " CANCELLED."
        ),
    ),
]
ENDED = [
    (
        ended(TaskStatus.COMPLETED),
        Reason.COMPLETED,
        "Completed at 2026-11-01T11:59:50Z, 2.0 s after attempt 2 began on web-1 (pid 4711).",
    ),
    (
        ended(TaskStatus.FAILED, error=BROKE, host=None),
        Reason.FAILED,
        (
            f"Failed at 2026-11-01T11:59:50Z, 2.0 s after attempt 2 began on worker {WORKER}, with handler_error:"
            f" it broke."
        ),
    ),
    (
        ended(TaskStatus.FAILED, error=BROKE, started_at=None, worker_id=None, attempt=0),
        Reason.FAILED,
        "Failed at 2026-11-01T11:59:50Z, before it began, with handler_error: it broke.",
    ),
    (
        ended(TaskStatus.CANCELLED, started_at=None, worker_id=None, attempt=0),
        Reason.CANCELLED,
        "Was cancelled at 2026-11-01T11:59:50Z, before it began.",
    ),
    (
        ended(TaskStatus.CANCELLED, cancel_requested_at=ago(seconds=11)),
        Reason.CANCELLED,
        (
            "Was cancelled at 2026-11-01T11:59:50Z, 2.0 s after attempt 2 began on web-1 (pid 4711). It was"
            " asked to stop"
            " while it ran."
        ),
    ),
    (
        ended(TaskStatus.CANCELLED, finished_at=ago(seconds=2)),
        Reason.CANCELLED,
        "Was cancelled at 2026-11-01T11:59:58Z, 10 s after attempt 2 began on web-1 (pid 4711).",
    ),
]


@pytest.mark.parametrize(("task", "reason", "sentence"), [*NOT_DUE, *HELD, *ENDED])
def test_task_that_is_not_due_or_has_begun_is_explained_by_its_row(
    task: Situation, reason: Reason, sentence: str
) -> None:
    assert not needs_wait(task)

    explanation = explain(task, None)

    assert (explanation.sentence, explanation.reason) == (sentence, reason)
    assert (explanation.task_id, explanation.status) == (task.id, task.status)


@pytest.mark.parametrize(("task", "waits", "reason", "sentence"), DUE)
def test_due_task_is_explained_by_what_it_waits_for(
    task: Situation, waits: Wait, reason: Reason, sentence: str
) -> None:
    assert needs_wait(task)

    explanation = explain(task, waits)

    assert (explanation.sentence, explanation.reason) == (sentence, reason)
    assert (explanation.due_at, explanation.due_in_seconds) == (task.due_at, 0)


def test_every_reason_and_every_status_has_its_sentence_here() -> None:
    explained = [explain(*one[:2]) for one in DUE] + [explain(one[0], None) for one in (*NOT_DUE, *HELD, *ENDED)]

    assert {one.reason for one in explained} == set(Reason)
    assert {one.status for one in explained} == set(TaskStatus)


def test_facts_stand_beside_the_sentence() -> None:
    later = explain(a_task(due_at=in_(minutes=5)), None)
    behind = explain(a_task(), wait(ahead=17))
    capped = explain(a_task(), wait(ahead=1001))
    unknown = explain(a_task(type="ecco"), wait(offering=0, types=("echo", "mail")))
    runs = explain(running(), None)
    done = explain(ended(TaskStatus.COMPLETED), None)

    assert later.due_in_seconds == 300
    assert (behind.ahead, behind.ahead_is_capped) == (17, False)
    assert (capped.ahead, capped.ahead_is_capped) == (1000, True)
    assert unknown.similar_types == ["echo"]
    assert (runs.worker_id, runs.host, runs.pid, runs.since) == (WORKER, "web-1", 4711, ago(seconds=12))
    assert (done.host, done.since) == ("web-1", ago(seconds=10))
    assert done.due_in_seconds is None


def test_nothing_that_others_wrote_moves_a_cursor_or_fills_a_screen() -> None:
    error = TaskError(code="bad\x1b[2J", message="\x1b]0;owned\x07" + "x" * 5_000, type=None)

    failed = explain(ended(TaskStatus.FAILED, error=error, host="web\x1b[31m"), None)

    assert "\x1b" not in failed.sentence
    assert "\x07" not in failed.sentence
    assert len(failed.sentence) < 600


def test_clock_that_stepped_back_makes_no_time_below_zero() -> None:
    assert "for 0.0 s" in explain(running(started_at=in_(seconds=3)), None).sentence


def test_types_that_are_all_alike_cost_little() -> None:
    types = tuple(f"{'report.build.of.the.month.' * 3}{n:04}" for n in range(1_000))

    start = perf_counter()
    explanation = explain(a_task(type="report.build.of.the.month." * 3), wait(offering=0, types=types))

    assert len(explanation.similar_types) == 3
    assert perf_counter() - start < 1
