"""What is offered, by whom and since when, and the rejection of tasks whose type nobody offers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from secrets import token_hex
from typing import Any

import pytest

from task_contracts import Priority
from task_store import Database, LiveOffers, Offer, UnstorableValuesError, Workers
from task_store._statements.workers import LIVE_OFFERS

LEASE = timedelta(seconds=30)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


async def test_live_offers_are_what_live_workers_serve_that_take_tasks(workers: Workers, table: Any) -> None:
    await table.worker(queues=["default", "reports"], types=["b", "a"])
    await table.worker(queues=["default"], types=["c", "a"])
    await table.worker(queues=["default"], types=["dead"], dead_at=timedelta(seconds=-1))
    await table.worker(queues=["default"], types=["late"], expires_at=timedelta(seconds=-1))
    await table.worker(queues=["drained"], types=["draining"], draining_at=timedelta(seconds=-1))

    offers = await workers.live_offers()

    assert offers == LiveOffers({"default": ("a", "b", "c"), "reports": ("a", "b")}, {"default": 2, "reports": 1})


async def test_without_workers_nothing_is_offered(workers: Workers, table: Any) -> None:
    assert await workers.live_offers() == LiveOffers({}, {})


async def test_offer_is_written_for_each_queue_and_version_and_renewed(workers: Workers, table: Any) -> None:
    query = "SELECT queue, type, payload_schema, last_offered_at FROM task_types ORDER BY queue, type, schema_hash"
    age = "UPDATE task_types SET last_offered_at = last_offered_at - interval '31 s'"

    await workers.offer(Offer(("reports", "default"), {"a": None, "b": SCHEMA}))
    await table.execute(age)
    first = {tuple(row.values())[:2]: row for row in await table.fetch(query)}
    await workers.offer(Offer(("default",), {"a": SCHEMA, "b": SCHEMA}))
    second = await table.fetch(query)

    assert list(first) == [(queue, type_) for queue in ("default", "reports") for type_ in "ab"]
    assert [tuple(row.values())[:3] for row in second] == [
        ("default", "a", None),
        ("default", "a", SCHEMA),
        ("default", "b", SCHEMA),
        ("reports", "a", None),
        ("reports", "b", SCHEMA),
    ]
    before = [first[row["queue"], row["type"]]["last_offered_at"] for row in second]
    is_renewed = [row["last_offered_at"] > old for row, old in zip(second, before, strict=True)]
    assert is_renewed == [False, True, True, False, False]


async def test_offer_is_written_again_only_when_it_is_old_or_another_version(workers: Workers, table: Any) -> None:
    query = "SELECT type, schema_hash, xmin::text, payload_schema FROM task_types"
    offer = Offer(("default",), {"changed": SCHEMA, "fresh": SCHEMA, "free": None, "old": None})
    await workers.offer(offer)
    await table.connection.execute(
        "UPDATE task_types SET last_offered_at = last_offered_at - interval '31 s' WHERE type = 'old'"
    )
    before = {(row["type"], row["schema_hash"]): row["xmin"] for row in await table.fetch(query)}

    await workers.offer(Offer(("default",), {**offer.schema_by_type, "changed": {}}))

    rows = {(row["type"], row["schema_hash"]): row for row in await table.fetch(query)}
    written = [(key[0], row["payload_schema"]) for key, row in rows.items() if row["xmin"] != before.get(key)]
    assert sorted(written) == [("changed", {}), ("old", None)]
    assert len(rows) == len(before) + 1


async def test_versions_of_a_type_are_told_by_their_schema_whatever_the_order_of_its_keys() -> None:
    turned = dict(reversed(SCHEMA.items()))
    offers = [Offer((), {"a": schema, "b": None}) for schema in (SCHEMA, turned, {**SCHEMA, "title": "B"})]

    one, same, other = (offer.schema_hashes for offer in offers)

    assert one == same
    assert one[0] != other[0]
    assert one[1] == other[1] == ""


async def test_live_offers_of_many_workers_are_read_in_one_row_for_each_kind(workers: Workers, table: Any) -> None:
    for _ in range(3):
        await table.worker(queues=["default", "reports", "default"], types=["a", "b"])
    await table.worker(queues=["default"], types=["c"])
    await table.worker(queues=["idle"], types=[])

    rows = await workers._database.fetch(LIVE_OFFERS)

    assert sorted(row["workers"] for row in rows) == [1, 1, 3]
    assert await workers.live_offers() == LiveOffers(
        {"default": ("a", "b", "c"), "reports": ("a", "b")}, {"default": 4, "reports": 3}
    )


async def test_many_workers_may_offer_the_same_at_once(workers: Workers, other_database: Any) -> None:
    one = Offer(("a", "b", "c"), dict.fromkeys("uvwxyz"))
    other = Offer(("c", "b", "a"), dict.fromkeys("zyxwvu"))

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(workers.offer(one))
            group.create_task(Workers(other_database).offer(other))


async def test_large_schemas_are_offered_in_batches_of_bytes(database: Database, table: Any) -> None:
    rows: list[int] = []

    class Counted:
        async def fetch(self, statement: Any, values: Any) -> Any:
            rows.append(len(values["queue"]))
            return await database.fetch(statement, values)

    workers = Workers(Counted())  # type: ignore[arg-type] # the call that is used
    megabyte = {"description": token_hex(500_000)}

    await workers.offer(Offer(("a", "b", "c"), {"t": megabyte, "u": megabyte}))

    assert rows == [4, 2]
    assert (await table.fetch("SELECT count(*) AS n FROM task_types"))[0]["n"] == 6


async def test_schema_that_the_database_refuses_keeps_no_other_type_from_being_offered(
    workers: Workers, table: Any
) -> None:
    with pytest.raises(UnstorableValuesError):
        await workers.offer(Offer(("default",), {"a": SCHEMA, "bad": {"title": "\x00"}, "c": None}))

    assert [row["type"] for row in await table.fetch("SELECT type FROM task_types ORDER BY type")] == ["a", "c"]


async def test_same_types_are_offered_at_once_by_one_worker(workers: Workers, table: Any) -> None:
    await asyncio.gather(*(workers.offer(Offer(("default",), {"a": SCHEMA})) for _ in range(3)))

    assert len(await table.fetch("SELECT 1 FROM task_types")) == 1


async def test_queue_that_is_named_twice_is_offered_once(workers: Workers, table: Any) -> None:
    await workers.offer(Offer(("default", "default"), {"a": None}))

    assert len(await table.fetch("SELECT 1 FROM task_types")) == 1


async def test_worker_without_types_offers_nothing(workers: Workers, table: Any) -> None:
    await workers.offer(Offer(("default",), {}))

    assert await table.fetch("SELECT 1 FROM task_types") == []


async def test_tasks_of_a_type_that_nobody_offers_are_rejected_in_every_priority(workers: Workers, table: Any) -> None:
    await table.worker(types=["known", "other"])
    unknown = {
        (await table.put(type=type_, priority=priority), type_) for priority in Priority for type_ in ("lost", "zzz")
    }
    suspect = await table.put(type="lost", lost_count=2)
    for columns in ({"type": "known"}, {"type": "lost", "queue": "reports"}, {"type": "lost", "status": "FAILED"}):
        await table.put(**columns)

    rejected = await workers.reject(LEASE, rows=100)

    assert set(rejected) == {*unknown, (suspect, "lost")}
    assert await workers.reject(LEASE, rows=100) == []


async def test_type_that_is_offered_for_another_queue_alone_is_unknown(workers: Workers, table: Any) -> None:
    await table.worker(queues=["default"], types=["echo"])
    await table.worker(queues=["reports"], types=["build"])
    await workers.offer(Offer(("reports",), {"build": None}))
    task_id = await table.put(type="build")

    assert await workers.reject(LEASE, rows=100) == [(task_id, "build")]


async def test_error_of_an_unknown_type_names_type_and_queue_and_what_is_offered_there(
    workers: Workers, table: Any
) -> None:
    await table.worker(queues=["default", "reports"], types=["report.build", "echo"])
    await table.worker(queues=["default"], types=["mail.send", "echo"])
    await table.worker(queues=["reports"], types=["elsewhere"])
    await table.worker(queues=["mute"], types=[])
    await table.worker(queues=["many"], types=[f"t{number:02}" for number in range(13)])
    ids = {queue: await table.put(type="report.biuld", queue=queue) for queue in ("default", "mute", "many")}

    await workers.reject(LEASE, rows=100)

    errors = {queue: (await table.task(task_id))["error"] for queue, task_id in ids.items()}
    begun = "no worker of the queue {} offers the type report.biuld; offered there: "
    assert errors == {
        queue: {"code": "unknown_type", "type": None, "message": begun.format(queue) + offered}
        for queue, offered in {
            "default": "echo, mail.send, report.build",
            "mute": "nothing",
            "many": "t00, t01, t02, t03, t04, t05, t06, t07, t08, t09 and 3 more",
        }.items()
    }


async def test_versions_that_nobody_offers_are_forgotten_once_they_are_old(workers: Workers, table: Any) -> None:
    live, gone, young = ({"title": name} for name in ("live", "gone", "young"))
    for schema in (live, gone, young):
        await workers.offer(Offer(("default",), {"a": schema}))
    await workers.offer(Offer(("reports",), {"a": live, "b": None}))
    await table.connection.execute(
        "UPDATE task_types SET last_offered_at = statement_timestamp() - interval '14 days 1 hour'"
        " WHERE payload_schema->>'title' IS DISTINCT FROM 'young'"
    )
    (hash_,) = Offer((), {"a": live}).schema_hashes
    await table.worker(types=["a"], schema_hashes=[hash_], draining_at=timedelta(seconds=-1))
    await table.dead_worker(queues=["reports"], types=["b"], schema_hashes=[""])

    forgotten = [await workers.forget_offers(timedelta(days=14), rows=2) for _ in range(3)]

    left = await table.fetch("SELECT queue, type, payload_schema FROM task_types ORDER BY payload_schema->>'title'")
    assert sorted(type_ for types in forgotten for type_ in types) == ["a", "a", "b"]
    assert [len(types) for types in forgotten] == [2, 1, 0]
    assert [tuple(row.values()) for row in left] == [("default", "a", live), ("default", "a", young)]


async def test_version_that_is_offered_anew_meanwhile_is_kept(
    workers: Workers, other_database: Database, table: Any
) -> None:
    await workers.offer(Offer(("default",), {"a": None}))
    await table.connection.execute("UPDATE task_types SET last_offered_at = statement_timestamp() - interval '15 days'")

    async with table.connection.transaction():
        await table.connection.execute("UPDATE task_types SET last_offered_at = statement_timestamp()")

        assert await Workers(other_database).forget_offers(timedelta(days=14), rows=2) == []

    assert len(await table.fetch("SELECT FROM task_types")) == 1


@pytest.mark.parametrize(("days", "is_rejected"), [(6.9, False), (7.1, True)])
async def test_type_is_waited_for_seven_days(days: float, is_rejected: bool, workers: Workers, table: Any) -> None:
    await table.worker()
    await workers.offer(Offer(("default",), {"gone": None}))
    await table.connection.execute(
        "UPDATE task_types SET last_offered_at = statement_timestamp() - $1::interval", timedelta(days=days)
    )
    await table.put(type="gone")

    assert bool(await workers.reject(LEASE, rows=100)) is is_rejected


@pytest.mark.parametrize(
    "columns",
    [{"dead_at": timedelta(seconds=-1)}, {"expires_at": timedelta(seconds=-1)}],
    ids=["dead", "lease over"],
)
async def test_worker_that_does_not_live_neither_serves_nor_offers(
    columns: dict[str, Any], workers: Workers, table: Any
) -> None:
    await table.worker(types=["lost"], **columns)
    task_id = await table.put(type="lost")

    without_server = await workers.reject(LEASE, rows=100)
    await table.worker(types=["echo"])

    assert without_server == []
    assert await workers.reject(LEASE, rows=100) == [(task_id, "lost")]


async def test_rejection_takes_so_many_rows_at_a_time(workers: Workers, table: Any) -> None:
    await table.worker()
    for type_ in ("a", "b", "c"):
        await table.fill(4, type=type_)

    turns = [len(await workers.reject(LEASE, rows=5)) for _ in range(4)]

    assert turns == [5, 5, 2, 0]


async def test_row_that_somebody_holds_is_rejected_at_another_time(workers: Workers, table: Any, connect: Any) -> None:
    await table.worker()
    held, free = await table.put(type="lost"), await table.put(type="lost")
    other = await connect()

    async with other.transaction():
        await other.execute("SELECT 1 FROM tasks WHERE id = $1 FOR UPDATE", held)
        meanwhile = await workers.reject(LEASE, rows=100)

    assert meanwhile == [(free, "lost")]
    assert await workers.reject(LEASE, rows=100) == [(held, "lost")]
