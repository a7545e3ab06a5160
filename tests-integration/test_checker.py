"""The checker sees what it is there to see: each broken run below is named, and the sound one is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from harness.checker import Evidence, findings
from harness.journal import Note
from harness.tables import Row

ID, OTHER_ID, TOKEN, LATER_TOKEN = uuid4(), uuid4(), uuid4(), uuid4()
PID, OTHER_PID = 7, 8


def at(seconds: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def task(**fields: object) -> Row:
    """Return a task that completed at its second attempt."""
    return {
        "id": ID,
        "status": "COMPLETED",
        "attempt": 2,
        "rerun_count": 0,
        "created_at": at(0),
        "started_at": at(20),
        "finished_at": at(30),
        "lease_token": LATER_TOKEN,
        "result": "{}",
        **fields,
    }


def rescued(**fields: object) -> Row:
    """Return its first attempt, which lost its worker."""
    return {"task_id": ID, "attempt": 1, "started_at": at(1), "ended_at": at(10), "outcome": "RESCUE", **fields}


FIRST = Note(ID, 1, TOKEN, PID, started_at=1, ended_at=9, how="CancelledError")
SECOND = Note(ID, 2, LATER_TOKEN, OTHER_PID, started_at=20, ended_at=30, how="returned")
SOUND = Evidence(frozenset({ID}), [task()], [rescued()], [FIRST, SECOND], ready={"tasks.default.low": 0})


def test_a_sound_run_has_no_findings() -> None:
    assert findings(SOUND) == []


@pytest.mark.parametrize(
    ("named", "broken"),
    [
        ("I1", {"tasks": [task(status="IN_PROGRESS", attempt=2)]}),
        ("I1", {"accepted": frozenset({ID, OTHER_ID})}),
        ("I2 no overlap of leases", {"attempts": [rescued(ended_at=at(21))]}),
        ("I2 no overlap of runs", {"notes": [replace(FIRST, ended_at=21), SECOND]}),
        ("I3", {"attempts": []}),
        ("I3", {"attempts": [rescued(outcome="FAIL")]}),
        ("I4", {"tasks": [task(started_at=at(31))]}),
        ("I5", {"cancelled": frozenset({ID})}),
        ("I6", {"accepted": frozenset()}),
        ("I6", {"notes": [FIRST, SECOND, replace(SECOND, token=uuid4(), started_at=40, ended_at=41)]}),
        ("I7", {"tasks": [task(lease_token=TOKEN)]}),
        ("I10", {"ready": {"tasks.dead": 1}}),
    ],
)
def test_a_broken_run_is_named(named: str, broken: dict[str, object]) -> None:
    found = findings(replace(SOUND, **broken))

    assert found
    assert all(line.startswith(named) for line in found), found


def test_a_frozen_process_could_not_stop_its_own_run() -> None:
    overlapping = replace(SOUND, notes=[replace(FIRST, ended_at=21), SECOND])

    assert findings(replace(overlapping, frozen=frozenset({PID}))) == []
