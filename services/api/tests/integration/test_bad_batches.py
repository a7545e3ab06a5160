"""A batch with one wrong task creates none, and its errors name the place; no hostile body makes a 500."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from task_contracts import limits

BATCH = "/api/v1/tasks/batch"
JSON = {"content-type": "application/json"}


def a_batch(wrong: bytes, place: int = 17) -> bytes:
    """Return a batch of good tasks, but for one."""
    good = b'{"name": "good"}'
    return b'{"tasks": [' + b", ".join([*[good] * place, wrong, good]) + b"]}"


WRONG_TASKS = {
    "no name": (b"{}", "body.tasks.17.name"),
    "no object": (b"[]", "body.tasks.17"),
    "null": (b"null", "body.tasks.17"),
    "an unknown field": (b'{"name": "a", "nmae": 1}', "body.tasks.17.nmae"),
    "another priority": (b'{"name": "a", "priority": "URGENT"}', "body.tasks.17.priority"),
    "a number as text": (b'{"name": "a", "max_attempts": "5"}', "body.tasks.17.max_attempts"),
    "a time as number": (b'{"name": "a", "run_at": 1}', "body.tasks.17.run_at"),
    "an unknown queue": (b'{"name": "a", "queue": "reprots"}', "body.tasks.17.queue"),
    "NUL": (b'{"name": "a\\u0000"}', "body.tasks.17.name"),
    "NUL in the payload": (b'{"name": "a", "payload": {"a": ["\\u0000"]}}', "body.tasks.17.payload.a.0"),
    "a lone surrogate": (b'{"name": "a\\ud800"}', "body"),
    "bad UTF-8": (b'{"name": "a\xff"}', "body"),
    "NaN": (b'{"name": "a", "payload": {"a": NaN}}', "body.tasks.17.payload.a"),
    "1e999": (b'{"name": "a", "payload": {"a": -1e999}}', "body.tasks.17.payload.a"),
    "beyond 64 bits": (b'{"name": "a", "payload": {"a": 9223372036854775808}}', "body.tasks.17.payload.a"),
    "65 levels": (
        b'{"name": "a", "payload": %s}' % (b'{"a":' * 64 + b"{}" + b"}" * 64),
        "body.tasks.17.payload." + ".".join("a" * 6),
    ),
    "20,000 levels": (b'{"name": "a", "payload": {"a": %s}}' % (b"[" * 20_000 + b"]" * 20_000), "body"),
    "20,001 values": (b'{"name": "a", "payload": {"a": [%s]}}' % b",".join([b"1"] * 19_999), "body.tasks.17.payload"),
    "over 1 MiB": (b'{"name": "a", "payload": {"a": "%s"}}' % (b"x" * limits.BODY_BYTES), "body.tasks.17"),
}


@pytest.mark.parametrize(("wrong", "field"), WRONG_TASKS.values(), ids=WRONG_TASKS)
async def test_one_wrong_task_is_named_by_its_place_and_none_is_created(
    wrong: bytes, field: str, client: httpx2.AsyncClient
) -> None:
    answer = await client.post(BATCH, content=a_batch(wrong), headers=JSON)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await client.get("/api/v1/tasks")).json()["items"] == []


BROKEN = {
    "nothing": (b"", "body"),
    "no JSON": (b'{"tasks": [', "body"),
    "a list": (b"[]", "body"),
    "a text": (b'"x"', "body"),
    "no tasks": (b"{}", "body.tasks"),
    "null": (b'{"tasks": null}', "body.tasks"),
    "an object": (b'{"tasks": {"0": {"name": "a"}}}', "body.tasks"),
    "none": (b'{"tasks": []}', "body.tasks"),
    "too many": (b'{"tasks": [%s]}' % b",".join([b'{"name":"a"}'] * (limits.BATCH_TASKS_MAX + 1)), "body.tasks"),
    "another field": (b'{"tasks": [{"name": "a"}], "queue": "default"}', "body.queue"),
    "empty lists": (b'{"tasks": [%s]}' % b",".join([b"[]"] * limits.BATCH_JSON_NODES), "body"),
    "brackets": (b"[[]," * (1 << 19), "body"),
    "quotes": (b'""' * (1 << 21), "body"),
    "escapes": (b'"' + b'\\"' * (1 << 20), "body"),
    "unknown fields": (b'{"tasks": [{%s}]}' % b",".join(b'"%d": 1' % n for n in range(40_000)), "body"),
    "unknown fields of the batch": (b"{%s}" % b",".join(b'"%d": 1' % n for n in range(40_000)), "body"),
    "many errors": (b'{"tasks": [%s]}' % b",".join([b'{"x": 1}'] * 1000), "body"),
}


@pytest.mark.parametrize(("body", "field"), BROKEN.values(), ids=BROKEN)
async def test_a_body_that_is_no_batch_is_refused(body: bytes, field: str, shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.post(BATCH, content=body, headers=JSON)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_only_the_first_errors_are_named_and_all_are_counted(shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.post(BATCH, json={"tasks": [{}] * 30})

    assert [error["field"] for error in answer.json()["errors"]] == [f"body.tasks.{n}.name" for n in range(20)]
    assert answer.json()["detail"].startswith("30 fields are wrong")


async def test_as_many_values_as_there_may_be_are_taken(client: httpx2.AsyncClient) -> None:
    # The body, its list, and 1,000 tasks of 99 values: the task, its name, its payload, its list and 95 numbers.
    tasks = [{"name": "a", "payload": {"n": [1] * 95}}] * 1000
    tasks[-1] = {"name": "a", "payload": {"n": [1] * (95 + 1000 - 2)}}

    fits = await client.post(BATCH, json={"tasks": tasks})
    tasks[0] = {"name": "a", "payload": {"n": [1] * 96}}
    over = await client.post(BATCH, json={"tasks": tasks})

    assert (fits.status_code, over.status_code) == (201, 422)


async def test_a_body_of_exactly_the_limit_is_taken_and_a_longer_one_is_413(client: httpx2.AsyncClient) -> None:
    frame = {"tasks": [{"name": "a", "payload": {"a": ""}} for _ in range(5)]}
    room = limits.BATCH_BODY_BYTES - len(json.dumps(frame))
    for place, task in enumerate(frame["tasks"]):
        task["payload"]["a"] = "x" * (room // 5 + (room % 5 if place == 0 else 0))  # type: ignore[index] # as built
    body = json.dumps(frame).encode()

    fits = await client.post(BATCH, content=body, headers=JSON)
    over = await client.post(BATCH, content=body + b" ", headers=JSON)

    assert len(body) == limits.BATCH_BODY_BYTES
    assert (fits.status_code, over.status_code) == (201, 413)
    assert over.json()["code"] == "body_too_large"


async def test_numbers_come_back_from_a_batch_as_they_were_sent(client: httpx2.AsyncClient) -> None:
    sent = {"n": [2**63 - 1, -(2**63) + 1, 0.1, 1e22, 5e-324, 1.7976931348623157e308, 1.5e19, -0.0, True, None]}

    created = await client.post(
        BATCH, json={"tasks": [{"name": "a", "payload": sent, "run_at": "2026-01-01T00:00:00Z"}]}
    )

    read = await client.get(f"/api/v1/tasks/{created.json()['items'][0]['id']}")
    assert json.dumps(read.json()["payload"]) == json.dumps(sent)


async def test_without_a_default_each_task_needs_a_type(open_parts: Any, open_client: Any, database_url: str) -> None:
    async with open_parts(database_url, default_type="") as parts, open_client(parts) as client:
        answer = await client.post(BATCH, json={"tasks": [{"name": "a", "type": "mine"}, {"name": "b"}]})

    assert [error["field"] for error in answer.json()["errors"]] == ["body.tasks.1.type"]


async def test_a_batch_that_is_not_declared_as_json_is_415(shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.post(BATCH, content=a_batch(b'{"name": "a"}'))

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_query_is_refused(shared_client: httpx2.AsyncClient) -> None:
    answer = await shared_client.post(f"{BATCH}?dry_run=true", json={"tasks": [{"name": "a"}]})

    assert [error["field"] for error in answer.json()["errors"]] == ["query.dry_run"]
