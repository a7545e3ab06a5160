"""Lists: every filter, both orders, pages that end early; no task is shown twice or is missing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from task_contracts import Priority, SortOrder, Task, TaskStatus, TaskSummary, limits
from task_store import Page, TaskFilter, Tasks, Total

NEWEST, OLDEST = SortOrder.NEWEST, SortOrder.OLDEST
EVERYTHING = TaskFilter()


def ids_of(page: Page) -> list[UUID]:
    return [task.id for task in page.items]


async def walk(tasks: Tasks, wanted: TaskFilter, items: int, **options: Any) -> list[Page]:
    """Return all pages, first to last."""
    pages = [await tasks.page(wanted, items=items, **options)]
    while pages[-1].next_after:
        pages.append(await tasks.page(replace(wanted, after=pages[-1].next_after), items=items, **options))
    return pages


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a page read 10 rows."""
    monkeypatch.setattr(limits, "EXAMINED_ROWS_MAX", 10)
    return 10


@pytest.mark.parametrize("order", SortOrder)
@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
async def test_pages_follow_one_another_in_order_and_the_last_says_so(
    order: SortOrder, count: int, sizes: list[int], tasks: Tasks, table: Any
) -> None:
    ids = await table.fill(count)

    pages = await walk(tasks, TaskFilter(order=order), items=4)

    assert [len(page.items) for page in pages] == sizes
    assert [task_id for page in pages for task_id in ids_of(page)] == sorted(ids, reverse=order is NEWEST)


FOUND: dict[str, Any] = {
    "name": "Monthly report",
    "type": "report.build",
    "queue": "reports",
    "priority": "HIGH",
    "status": "FAILED",
    "labels": {"customer": "42", "region": "north"},
}
OTHER: dict[str, Any] = {"name": "say hello", "type": "echo", "queue": "default", "priority": "LOW", "labels": {}}


def in_order(wanted: TaskFilter) -> str:
    """Return a text that is the same in every process: a set's own order is not."""
    return repr(replace(wanted, statuses=sorted(wanted.statuses), priorities=sorted(wanted.priorities)))


@pytest.mark.parametrize(
    "wanted",
    [
        TaskFilter(statuses=frozenset({TaskStatus.FAILED})),
        TaskFilter(statuses=frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED})),
        TaskFilter(statuses=frozenset({TaskStatus.FAILED, TaskStatus.COMPLETED})),
        TaskFilter(priorities=frozenset({Priority.HIGH})),
        TaskFilter(priorities=frozenset({Priority.HIGH, Priority.MEDIUM})),
        TaskFilter(type="report.build"),
        TaskFilter(queue="reports"),
        TaskFilter(labels=(("customer", "42"),)),
        TaskFilter(labels=(("customer", "42"), ("region", "north"))),
        TaskFilter(name="report"),
        TaskFilter(name="MONTHLY R"),
        TaskFilter(
            statuses=frozenset({TaskStatus.FAILED}),
            priorities=frozenset({Priority.HIGH}),
            type="report.build",
            queue="reports",
            labels=(("region", "north"),),
            name="month",
        ),
    ],
    ids=in_order,
)
@pytest.mark.parametrize("order", SortOrder)
async def test_each_filter_finds_what_matches_and_nothing_else(
    wanted: TaskFilter, order: SortOrder, tasks: Tasks, table: Any
) -> None:
    found = []
    for _ in range(3):
        await table.put(**OTHER)
        found.append(await table.put(**FOUND))
    wanted = replace(wanted, order=order)

    pages = await walk(tasks, wanted, items=2)

    assert [task_id for page in pages for task_id in ids_of(page)] == sorted(found, reverse=order is NEWEST)
    assert await tasks.total(wanted) == Total(3, is_capped=False)


@pytest.mark.parametrize("order", SortOrder)
async def test_ids_find_these_tasks_alone_in_the_order_of_the_list(order: SortOrder, tasks: Tasks, table: Any) -> None:
    ids = await table.fill(6)
    wanted = TaskFilter(ids=(ids[4], uuid7(), ids[0], ids[2]), order=order)

    pages = await walk(tasks, wanted, items=2)

    found = sorted((ids[0], ids[2], ids[4]), reverse=order is NEWEST)
    assert [task_id for page in pages for task_id in ids_of(page)] == found
    assert await tasks.total(wanted) == Total(3, is_capped=False)


async def test_a_task_must_match_the_other_filters_beside_its_id(tasks: Tasks, table: Any) -> None:
    failed, other = await table.put(**FOUND), await table.put(**OTHER)

    page = await tasks.page(TaskFilter(ids=(failed, other), statuses=frozenset({TaskStatus.FAILED})), items=10)

    assert ids_of(page) == [failed]


@pytest.mark.parametrize(
    "labels",
    [
        (("customer", "4"),),
        (("customer", "42"), ("region", "south")),
        (("42", "customer"),),
        (("customer", ""),),
        (('"', "\\"),),
    ],
)
async def test_labels_match_whole_and_all_together(labels: Any, tasks: Tasks, table: Any) -> None:
    await table.put(labels={"customer": "42", "region": "north"})

    assert (await tasks.page(TaskFilter(labels=labels), items=5)).items == ()


@pytest.mark.parametrize("part", ["50%", "a_b", "c\\d", "/e", "'", '"', "Ünï", "%", "_", "\\"])
async def test_name_is_taken_literally(part: str, tasks: Tasks, table: Any) -> None:
    found = await table.put(name=f"x {part} y")
    await table.put(name="x 500 axb cd e UNI y")

    assert ids_of(await tasks.page(TaskFilter(name=part), items=5)) == [found]


async def test_statuses_that_do_not_occur_find_nothing(tasks: Tasks, table: Any) -> None:
    await table.put()

    page = await tasks.page(TaskFilter(statuses=frozenset({TaskStatus.CANCELLED})), items=5)

    assert page == Page((), None)


async def test_times_of_creation_bound_a_list_from_inclusive_to_exclusive(tasks: Tasks, table: Any) -> None:
    moments = [datetime(2026, 5, 1, 12, tzinfo=UTC) + timedelta(microseconds=place) for place in range(4)]
    ids = sorted(key_of(moments[0]) for _ in moments)
    for task_id, moment in zip(ids, moments, strict=True):
        await table.put(id=task_id, created_at=moment)
    wanted = TaskFilter(created_from=moments[1], created_to=moments[3], order=OLDEST)

    assert ids_of(await tasks.page(wanted, items=9)) == ids[1:3]
    assert ids_of(await tasks.page(replace(wanted, created_to=None), items=9)) == ids[1:]
    assert ids_of(await tasks.page(replace(wanted, created_from=None), items=9)) == ids[:3]
    assert await tasks.total(wanted) == Total(2, is_capped=False)


@pytest.mark.parametrize("hours", [-23, 23])
async def test_clock_that_made_the_key_may_be_most_of_a_day_off(hours: int, tasks: Tasks, table: Any) -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    task_id = await table.put(id=key_of(moment + timedelta(hours=hours)), created_at=moment)
    wanted = TaskFilter(created_from=moment, created_to=moment + timedelta(microseconds=1))

    assert ids_of(await tasks.page(wanted, items=9)) == [task_id]


async def test_keys_beyond_the_slack_are_not_looked_at(
    tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXAMINED_ROWS_MAX", 3)
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    for hours in (-100, -50, 50, 100):
        await table.put(id=key_of(moment + timedelta(hours=hours)), created_at=moment + timedelta(hours=hours))
    task_id = await table.put(id=key_of(moment), created_at=moment)

    page = await tasks.page(TaskFilter(created_from=moment, created_to=moment + timedelta(seconds=1)), items=9)

    assert (ids_of(page), page.next_after) == ([task_id], None)


def key_of(moment: datetime) -> UUID:
    """Return a UUIDv7 of a moment, with the random part of a real one."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | uuid7().int & (1 << 80) - 1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 7, 20, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 5, 1, tzinfo=timezone(timedelta(hours=-12))),
    ],
)
async def test_first_and_last_days_of_the_calendar_are_bounds_like_others(
    moment: datetime, tasks: Tasks, table: Any
) -> None:
    task_id = await table.put()
    is_past = moment < datetime.now(UTC)

    since = await tasks.page(TaskFilter(created_from=moment), items=9)
    until = await tasks.page(TaskFilter(created_to=moment), items=9)

    assert ids_of(since if is_past else until) == [task_id]
    assert ids_of(until if is_past else since) == []


async def test_summary_leaves_out_what_may_be_large(tasks: Tasks, table: Any) -> None:
    task_id = await table.put("COMPLETED", payload={"n": 1}, result=[2])

    (summary,) = (await tasks.page(EVERYTHING, items=9)).items
    (full,) = (await tasks.page(EVERYTHING, items=9, is_full=True)).items

    task = await tasks.get(task_id)
    assert full == task
    assert type(summary) is TaskSummary
    assert summary == TaskSummary(**{name: getattr(task, name) for name in TaskSummary.model_fields})


async def test_page_is_cut_before_it_exceeds_its_bytes(tasks: Tasks, table: Any) -> None:
    megabyte = {"text": "x" * (1 << 20)}
    ids = [await table.put(payload=megabyte) for _ in range(5)]

    full = await walk(tasks, TaskFilter(order=OLDEST), items=9, is_full=True)
    summaries = await walk(tasks, TaskFilter(order=OLDEST), items=9)

    assert [ids_of(page) for page in full] == [ids[:3], ids[3:]]
    assert all(isinstance(task, Task) for page in full for task in page.items)
    assert [ids_of(page) for page in summaries] == [ids]
    assert max(sum(len(task.model_dump_json()) for task in page.items) for page in full) <= limits.PAGE_BYTES


async def test_first_task_of_a_page_is_never_cut_off(tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES", 100)
    ids = await table.fill(3)

    pages = await walk(tasks, TaskFilter(order=OLDEST), items=2)

    assert [ids_of(page) for page in pages] == [[task_id] for task_id in ids]


async def test_large_results_and_descriptions_count_too(
    tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_BYTES", 31_000)
    for _ in range(2):
        await table.put("COMPLETED", result="é" * 6_000, description="x" * 9_000)

    assert [len(page.items) for page in await walk(tasks, EVERYTHING, items=9, is_full=True)] == [1, 1]
    assert [len(page.items) for page in await walk(tasks, EVERYTHING, items=9)] == [2]


@pytest.mark.parametrize(
    "columns",
    [
        {"labels": {f"{n:063}": "\U0001f600" * limits.LABEL_VALUE_CHARS for n in range(limits.LABELS_MAX)}},
        {"error": {"code": "handler_error", "message": "\U0001f600" * limits.ERROR_MESSAGE_CHARS}},
        {"progress": {"percent": 1, "message": "\x1b" * limits.PROGRESS_MESSAGE_CHARS}},
        {"name": "\x1b" * limits.NAME_CHARS, "description": "\x1b" * limits.DESCRIPTION_CHARS},
        {"type": "t" * limits.TYPE_CHARS, "queue": "q" * limits.QUEUE_CHARS},
    ],
    ids=lambda columns: next(iter(columns)),
)
async def test_whatever_a_task_is_large_by_counts_as_an_answer_writes_it(
    tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Any]
) -> None:
    now = await table.now()
    times = dict.fromkeys(("created_at", "started_at", "finished_at", "due_at", "run_at", "cancel_requested_at"), now)
    numbers = dict.fromkeys(("attempt", "failures", "lost_count", "rerun_count", "version", "max_attempts"), 2**31 - 1)
    for _ in range(9):
        await table.put("CANCELLED", worker_id=uuid4(), **{"timeout_seconds": 1 / 3, **times, **numbers, **columns})
    (whole,) = await walk(tasks, EVERYTHING, items=9, is_full=True)
    monkeypatch.setattr(limits, "PAGE_BYTES", 4 * len(whole.items[0].model_dump_json().encode()))

    pages = await walk(tasks, EVERYTHING, items=9, is_full=True)

    answers = [b",".join(task.model_dump_json().encode() for task in page.items) for page in pages]
    assert max(len(answer) for answer in answers) <= limits.PAGE_BYTES


@pytest.mark.parametrize("order", SortOrder)
async def test_rare_filter_gives_short_pages_that_go_on_to_the_end(
    order: SortOrder, tasks: Tasks, table: Any, small_window: int
) -> None:
    ids = await table.fill(3 * small_window + 4)
    wanted_ids = {ids[1], ids[2], ids[25], ids[33]}
    for task_id in wanted_ids:
        await table.set("tasks", task_id, name="needle")
    wanted = TaskFilter(name="needle", order=order)

    pages = await walk(tasks, wanted, items=3)

    assert [task_id for page in pages for task_id in ids_of(page)] == sorted(wanted_ids, reverse=order is NEWEST)
    assert len(pages) == 4
    assert {page.next_after for page in pages[:-1]} <= set(ids)


async def test_window_that_ends_with_the_rows_still_leads_to_the_true_end(
    tasks: Tasks, table: Any, small_window: int
) -> None:
    await table.fill(small_window)

    pages = await walk(tasks, TaskFilter(name="needle"), items=3)

    assert [len(page.items) for page in pages] == [0, 0]


async def test_unsuccessful_tasks_are_found_past_any_number_of_others(
    tasks: Tasks, table: Any, small_window: int
) -> None:
    failed = await table.put("FAILED")
    await table.fill(2 * small_window)
    cancelled = await table.put("CANCELLED")
    await table.fill(2 * small_window)

    both = TaskFilter(statuses=frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED}))
    one = TaskFilter(statuses=frozenset({TaskStatus.FAILED}))

    assert [ids_of(page) for page in await walk(tasks, both, items=3)] == [[cancelled, failed]]
    assert [ids_of(page) for page in await walk(tasks, one, items=3)] == [[failed]]


@pytest.mark.parametrize("order", SortOrder)
@pytest.mark.parametrize("name", [None, "needle"])
async def test_no_task_is_missing_or_shown_twice_while_others_come_and_go(
    order: SortOrder, name: str | None, tasks: Tasks, table: Any, other_database: Any, connect: Any, small_window: int
) -> None:
    """A task that exists all the time is shown exactly once, whatever is inserted and purged meanwhile."""
    stay = [await table.put(name="needle") for _ in range(60)]
    await table.fill(60, name="hay")
    stay += [await table.put(name="needle") for _ in range(60)]
    is_over, other = asyncio.Event(), await connect()

    async def disturb() -> None:
        while not is_over.is_set():
            await other.execute(
                "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE name = 'hay' ORDER BY random() LIMIT 1)"
            )
            for _ in range(5):
                await other.execute(
                    "INSERT INTO tasks (id, payload_bytes, name, type, queue, priority, status, created_at, due_at)"
                    " VALUES ($1, 2, 'new hay', 'echo', 'default', 'LOW', 'NEW', now(), now())",
                    uuid7(),
                )

    async with asyncio.TaskGroup() as group:
        group.create_task(disturb())
        shown: list[UUID] = []
        wanted = TaskFilter(name=name, order=order)
        for _ in range(1000):  # in the order oldest first, new ones come for ever
            page = await Tasks(other_database).page(wanted, items=4)
            shown += ids_of(page)
            if page.next_after is None or set(stay) <= set(shown):
                break
            wanted = replace(wanted, after=page.next_after)
        is_over.set()

    assert len(shown) == len(set(shown))
    assert set(stay) <= set(shown)


async def test_total_is_capped_where_more_match(tasks: Tasks, table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOTAL_MAX", 5)
    await table.fill(5)
    exact = await tasks.total(EVERYTHING)
    await table.fill(1)

    assert exact == Total(5, is_capped=False)
    assert await tasks.total(EVERYTHING) == Total(5, is_capped=True)


async def test_total_is_capped_where_rows_were_left_unexamined(tasks: Tasks, table: Any, small_window: int) -> None:
    await table.fill(small_window - 1)
    exact = await tasks.total(TaskFilter(type="echo"))
    await table.fill(5)

    assert exact == Total(small_window - 1, is_capped=False)
    assert await tasks.total(TaskFilter(type="echo")) == Total(small_window, is_capped=True)
    assert await tasks.total(TaskFilter(type="none")) == Total(0, is_capped=True)


async def test_total_goes_on_from_where_a_page_begins(tasks: Tasks, table: Any) -> None:
    ids = await table.fill(5)

    assert await tasks.total(TaskFilter(order=OLDEST, after=ids[1])) == Total(3, is_capped=False)


async def test_count_by_status_counts_every_task_and_names_no_status_without_one(tasks: Tasks, table: Any) -> None:
    assert await tasks.count_by_status() == {}
    await table.fill(3)
    for status in (TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.FAILED):
        await table.put(status)

    counted = await tasks.count_by_status()

    assert counted == {TaskStatus.NEW: 3, TaskStatus.IN_PROGRESS: 1, TaskStatus.FAILED: 2}
