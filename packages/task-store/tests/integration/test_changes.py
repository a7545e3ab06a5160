"""What watchers read: what is at another version, what has ended of late, and what there is now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from task_contracts import TaskStatus, limits
from task_store import FIRST_ID, GONE_VERSION, UNKNOWN_VERSION, Changes, Database, TaskFilter, changes

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def watching(database: Database) -> Changes:
    return Changes(database)


async def test_what_is_at_another_version_is_returned_with_what_filters_look_at(watching: Changes, table: Any) -> None:
    same = await table.put(version=3)
    newer = await table.put(version=5, queue="reports", type="build", labels={"a": "b"}, progress={"percent": 4})
    older, unknown = await table.put(version=2), await table.put(version=1)

    read = await watching.read({same: 3, newer: 4, older: 3, unknown: UNKNOWN_VERSION})

    assert [(one.state.id, one.state.version) for one in read.tasks] == [(newer, 5), (older, 2), (unknown, 1)]
    first = read.tasks[0]
    assert (first.queue, first.type, first.labels, first.state.progress.percent) == ("reports", "build", {"a": "b"}, 4)
    assert (read.gone, read.answered) == ((), 4)


async def test_a_task_that_does_not_exist_is_gone_until_that_is_known(watching: Changes) -> None:
    missing = uuid4()

    assert (await watching.read({missing: 3})).gone == (missing,)
    assert (await watching.read({missing: UNKNOWN_VERSION})).gone == (missing,)
    assert (await watching.read({missing: GONE_VERSION})).gone == ()


async def test_the_time_is_the_databases_and_comes_with_nothing_else(watching: Changes, table: Any) -> None:
    before = await table.now()

    read = await watching.read({})

    assert before <= read.now <= await table.now()
    assert (read.tasks, read.gone, read.answered) == ((), (), 0)


async def test_an_answer_has_a_bounded_size_and_says_how_far_it_goes(
    watching: Changes, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await table.put(version=2, labels={"a": "x" * 200}) for _ in range(5)]
    monkeypatch.setattr(changes, "BATCH_BYTES", 1_500)

    read = await watching.read({ids[0]: 2, ids[1]: 1, ids[2]: 2, ids[3]: 1, ids[4]: 1})

    assert [one.state.id for one in read.tasks] == [ids[1], ids[3]]
    assert read.answered == 4


async def test_one_task_fits_however_large(watching: Changes, table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await table.put(labels={"a": "x" * 200}) for _ in range(2)]
    monkeypatch.setattr(changes, "BATCH_BYTES", 1)

    read = await watching.read(dict.fromkeys(ids, UNKNOWN_VERSION))

    assert ([one.state.id for one in read.tasks], read.answered) == ([ids[0]], 1)


async def test_json_that_cannot_be_read_hides_no_neighbour(watching: Changes, table: Any) -> None:
    good, bad = await table.put(), await table.put()
    await table.set("tasks", bad, labels=[1], progress={"percent": "no"})

    read = await watching.read({bad: UNKNOWN_VERSION, good: UNKNOWN_VERSION})

    assert [one.state.id for one in read.tasks] == [bad, good]
    assert read.tasks[0].labels["code"] == "unreadable_json"


async def test_what_has_ended_comes_page_by_page_in_the_order_of_its_end(watching: Changes, table: Any) -> None:
    now = await table.now()
    at = [now - timedelta(seconds=seconds) for seconds in (5, 9, 5, 3)]
    ids = [await table.put(status="CANCELLED", finished_at=one, version=7) for one in at]
    await table.put()

    _, first = await watching.finished(now - timedelta(seconds=6), rows=2)
    clock, rest = await watching.finished(first[-1].finished_at, first[-1].id, rows=2)

    assert [one.id for one in (*first, *rest)] == [*sorted((ids[0], ids[2])), ids[3]]
    assert {one.version for one in first} == {7}
    assert clock >= now
    assert (await watching.finished(clock, FIRST_ID, rows=2))[1] == []


async def test_present_is_what_waits_runs_or_has_ended_since_and_matches(watching: Changes, table: Any) -> None:
    now = await table.now()
    old, new = [
        [
            await table.put(status=status, finished_at=now - timedelta(seconds=ago), **OF_REPORTS)
            for status in ("COMPLETED", "FAILED", "CANCELLED")
        ]
        for ago in (20, 5)
    ]
    active = [await table.put(status=status, **OF_REPORTS) for status in ("NEW", "PENDING", "IN_PROGRESS")]
    for other in ({"queue": "default"}, {"type": "echo"}, {"labels": {"a": "c"}}):
        await table.put(**{**OF_REPORTS, **other})
    wanted = TaskFilter(queue="reports", type="build", labels=(("a", "b"),))
    since = now - timedelta(seconds=10)

    found = await watching.present(wanted, since, items=10)
    failed = await watching.present(TaskFilter(statuses=frozenset({TaskStatus.FAILED})), since, items=10)

    assert {state.id for state in found.states} == {*active, *new}
    assert not set(old) & {state.id for state in found.states}
    assert [state.id for state in failed.states] == [new[1]]
    assert (found.is_cut, failed.is_cut) == (False, False)
    assert found.now >= now


OF_REPORTS = {"queue": "reports", "type": "build", "labels": {"a": "b", "c": "d"}}


@pytest.mark.parametrize(("tasks", "is_cut"), [(0, False), (3, False), (4, True)])
async def test_more_than_asked_for_is_said(tasks: int, is_cut: bool, watching: Changes, table: Any) -> None:
    await table.fill(tasks)

    found = await watching.present(TaskFilter(), LONG_AGO, items=3)

    assert (len(found.states), found.is_cut) == (min(tasks, 3), is_cut)


@pytest.mark.parametrize("status", ["NEW", "IN_PROGRESS", "COMPLETED"])
async def test_what_was_not_examined_is_said(
    status: str, watching: Changes, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await table.put(status=status)
    needle = TaskFilter(type="needle")
    assert not (await watching.present(needle, LONG_AGO, items=3)).is_cut

    monkeypatch.setattr(limits, "EXAMINED_ROWS_MAX", 5)

    assert (await watching.present(needle, LONG_AGO, items=3)).is_cut
