"""The independent checker: reads what is left after things have settled, and says which invariant does not hold.

It shares no code with the service. The numbers are those of docs/invariants.md: I1 no loss · I2 no overlap · I3 one
end of each run · I4 times in order · I5 what was cancelled stays so · I6 conservation · I7 results carry the lease
token · I10 back to rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import UUID

from harness.journal import Note
from harness.tables import Row

ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
ENDS_A_RUN = {"FAIL", "CONFIRM_CANCEL", "ABANDON", "CANCEL_LOST"}
SHOWN = 5
SNOOZES = "step.snooze"
"""The type of the tasks whose attempts may leave no row: those that snoozed."""


@dataclass(frozen=True)
class Evidence:
    """What a run left behind.

        `accepted`: the ids of all answers 201. `cancelled`: of all answers 200 to a DELETE, never rerun since. `notes`:
    the handlers' journal. `frozen`: ids of processes that stood still for a while, and so could not stop their own code
    when they were taken for dead. `ready`: messages in each broker queue; left out where the broker is gone.
    """

    accepted: frozenset[UUID]
    tasks: Sequence[Row]
    attempts: Sequence[Row]
    notes: Sequence[Note] = ()
    cancelled: frozenset[UUID] = frozenset()
    frozen: frozenset[int] = frozenset()
    ready: Mapping[str, int] = field(default_factory=dict)


def findings(evidence: Evidence) -> list[str]:
    """Return what is wrong, a line for each finding; of each kind the first few."""
    found: list[str] = []
    for name, check in _CHECKS.items():
        lines = list(check(evidence))
        found += [f"{name}: {line}" for line in lines[:SHOWN]]
        if len(lines) > SHOWN:
            found.append(f"{name}: and {len(lines) - SHOWN} more")
    return found


def _lost(evidence: Evidence) -> Iterator[str]:
    status_by_id = {row["id"]: row["status"] for row in evidence.tasks}
    for task_id in evidence.accepted:
        if status_by_id.get(task_id) not in ENDED:
            yield f"{task_id} was accepted and is {status_by_id.get(task_id, 'gone')}"


def _overlapping_leases(evidence: Evidence) -> Iterator[str]:
    leases = defaultdict(list)
    for row in evidence.attempts:
        leases[row["task_id"]].append((row["attempt"], row["started_at"], row["ended_at"]))
    for row in evidence.tasks:
        if row["status"] == "COMPLETED":
            leases[row["id"]].append((row["attempt"], row["started_at"], row["finished_at"]))
    for task_id, held in leases.items():
        for (attempt, _, ended), (following, started, _) in pairwise(sorted(held)):
            if started < ended:
                yield f"{task_id}: attempt {following} began at {started}, attempt {attempt} ended at {ended}"


def _overlapping_runs(evidence: Evidence) -> Iterator[str]:
    runs = defaultdict(list)
    for note in evidence.notes:
        if note.pid not in evidence.frozen:
            runs[note.task_id].append(note)
    for task_id, notes in runs.items():
        for one, other in pairwise(sorted(notes, key=lambda note: note.started_at)):
            if one.ended_at is not None and other.started_at < one.ended_at:
                yield f"{task_id}: its handler ran twice at once, as attempts {one.attempt} and {other.attempt}"


def _ends(evidence: Evidence) -> Iterator[str]:
    rows = defaultdict(list)
    for row in evidence.attempts:
        rows[row["task_id"]].append(row)
    for task in evidence.tasks:
        written = rows[task["id"]]
        is_completed = task["status"] == "COMPLETED"
        is_open = task["status"] == "IN_PROGRESS"
        expected = set(range(1, task["attempt"] + 1 - is_completed - is_open))
        numbers = {row["attempt"] for row in written}
        if not numbers <= expected or (numbers != expected and task.get("type") != SNOOZES):
            yield f"{task['id']} ({task['status']}): {task['attempt']} attempts, {len(written)} of them on record"
        ends = sum(row["outcome"] in ENDS_A_RUN for row in written) + is_completed
        if ends > task["rerun_count"] + 1:
            yield f"{task['id']}: {ends} ends of {task['rerun_count'] + 1} runs"


def _times(evidence: Evidence) -> Iterator[str]:
    for row in evidence.tasks:
        times = [row[name] for name in ("created_at", "started_at", "finished_at") if row[name] is not None]
        if times != sorted(times):
            yield f"{row['id']}: created, started, finished are out of order"


def _cancelled(evidence: Evidence) -> Iterator[str]:
    for row in evidence.tasks:
        if row["id"] in evidence.cancelled and (row["status"] != "CANCELLED" or row["result"] is not None):
            yield f"{row['id']} was answered CANCELLED and is {row['status']}"


def _conservation(evidence: Evidence) -> Iterator[str]:
    known = {row["id"] for row in evidence.tasks}
    if strangers := known - evidence.accepted:
        yield f"{len(strangers)} tasks that no answer names, such as {next(iter(strangers))}"
    attempt_by_id = {row["id"]: row["attempt"] for row in evidence.tasks}
    starts = defaultdict(set)
    for note in evidence.notes:
        starts[note.task_id].add(note.token)
    for task_id, tokens in starts.items():
        if len(tokens) > attempt_by_id.get(task_id, 0):
            yield f"{task_id}: {len(tokens)} starts, {attempt_by_id.get(task_id, 0)} attempts"


def _results(evidence: Evidence) -> Iterator[str]:
    returned = {(note.task_id, note.token) for note in evidence.notes if note.how == "returned"}
    journaled = {note.task_id for note in evidence.notes}
    for row in evidence.tasks:
        is_result = row["status"] == "COMPLETED" and row["id"] in journaled
        if is_result and (row["id"], row["lease_token"]) not in returned:
            yield f"{row['id']}: the attempt under its lease token returned nothing"


def _rest(evidence: Evidence) -> Iterator[str]:
    for name, messages in evidence.ready.items():
        if messages:
            yield f"{messages} messages are left in {name}"


_CHECKS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "I1 no loss": _lost,
    "I2 no overlap of leases": _overlapping_leases,
    "I2 no overlap of runs": _overlapping_runs,
    "I3 one end of each run": _ends,
    "I4 times in order": _times,
    "I5 cancelled stays cancelled": _cancelled,
    "I6 conservation": _conservation,
    "I7 results carry the token": _results,
    "I10 back to rest": _rest,
}
