"""The look for what has ended finds it without a signal, in pieces, and once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from task_api.parts import ApiParts
from task_api.watch.finished_scan import FinishedScan
from task_api.watch.versions import Versions
from task_store import DatabaseUnavailableError

Create = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def seen() -> Versions:
    return Versions()


@pytest.fixture
def scan(parts: ApiParts, seen: Versions) -> FinishedScan:
    return FinishedScan(parts.watch.changes, seen, rows=2, pages=2)


async def found_by(scan: FinishedScan) -> list[UUID]:
    return [task_id async for ids in scan.look() for task_id in ids]


async def ended(create: Create, worker: Any, count: int) -> list[UUID]:
    ids = []
    for _ in range(count):
        task = await create()
        await worker.complete(task["id"])
        ids.append(UUID(task["id"]))
    return ids


async def test_what_has_ended_before_the_first_look_is_no_news(
    parts: ApiParts, seen: Versions, create: Create, worker: Any
) -> None:
    scan = FinishedScan(parts.watch.changes, seen, rows=2)
    await ended(create, worker, 5)
    assert await found_by(scan) == []

    new = await ended(create, worker, 1)

    assert await found_by(scan) == new


async def test_a_look_that_was_cut_goes_on_where_it_was_cut(scan: FinishedScan, create: Create, worker: Any) -> None:
    await found_by(scan)
    complete_at = scan.complete_at
    ids = await ended(create, worker, 5)

    first = await found_by(scan)
    assert scan.complete_at == complete_at, "it is not complete"
    rest = await found_by(scan)

    assert (first, rest) == (ids[:4], ids[4:])
    assert scan.complete_at > complete_at


async def test_what_was_found_is_found_again_until_it_was_read(
    scan: FinishedScan, seen: Versions, create: Create, worker: Any
) -> None:
    await found_by(scan)
    (task_id,) = await ended(create, worker, 1)

    assert await found_by(scan) == await found_by(scan) == [task_id]
    seen.note(task_id, 3)

    assert await found_by(scan) == []


async def test_what_was_found_before_an_outage_is_not_lost(
    scan: FinishedScan, parts: ApiParts, create: Create, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await found_by(scan)
    ids = await ended(create, worker, 3)
    finished = parts.watch.changes.finished
    pages = 0

    async def fails_once(*position: Any, rows: int) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise DatabaseUnavailableError("away")
        return await finished(*position, rows=rows)

    monkeypatch.setattr(parts.watch.changes, "finished", fails_once)
    look = scan.look()
    found = await anext(look)
    with pytest.raises(DatabaseUnavailableError):
        await anext(look)

    assert found + await found_by(scan) == ids


def test_versions_are_bounded_and_the_oldest_are_forgotten() -> None:
    versions = Versions(most=2)
    first, second, third = [UUID(int=n) for n in range(3)]
    for task_id in (first, second):
        assert versions.note(task_id, 5) == -1
    assert versions.note(first, 6) == 5

    versions.note(third, 1)

    assert [versions[task_id] for task_id in (first, second, third)] == [6, -1, 1]
