"""No broken input makes a 500 or a row. Each of these was seen to break PostgreSQL, FastAPI or pydantic."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from task_api.deadlines import Deadlines
from task_api.unread_bodies import DROP_BYTES
from task_contracts import Problem, limits

TASKS = "/api/v1/tasks"
AN_ID = "019ab5e2-5a4e-7c3d-8f21-6d0c5b7a9e10"
JSON = {"content-type": "application/json"}

BROKEN_TEXTS = {
    "nul": b'"a\\u0000b"',
    "a lone surrogate, escaped": b'"\\ud800"',
    "the wrong half first": b'"\\udc00\\ud800"',
    "a lone surrogate, raw": b'"\xed\xa0\x80"',
    "bad UTF-8": b'"\xff\xfe"',
    "a raw control character": b'"a\x00b"',
}
TEXTS = {
    "name": b'{"name": %s}',
    "description": b'{"name": "a", "description": %s}',
    "type": b'{"name": "a", "type": %s}',
    "queue": b'{"name": "a", "queue": %s}',
    "priority": b'{"name": "a", "priority": %s}',
    "run_at": b'{"name": "a", "run_at": %s}',
    "label key": b'{"name": "a", "labels": {%s: "b"}}',
    "label value": b'{"name": "a", "labels": {"a": %s}}',
    "payload key": b'{"name": "a", "payload": {%s: 1}}',
    "payload value": b'{"name": "a", "payload": {"a": [%s]}}',
    "unknown field": b'{"name": "a", %s: 1}',
}
NUMBERS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"true", b'"5"', b"[]", b"-1", b"0"]
A_YEAR_AND_A_DAY = (datetime.now(UTC) + timedelta(days=366)).isoformat()


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def broken_bodies() -> Iterator[tuple[str, str, bytes]]:
    """Yield a name for the test, the field that the answer must name, and the body."""
    for place, template in TEXTS.items():
        for kind, text in BROKEN_TEXTS.items():
            yield f"{kind} in {place}", "body", template % text
    yield from broken_numbers()
    yield from broken_documents()
    yield from broken_values()


def broken_numbers() -> Iterator[tuple[str, str, bytes]]:
    for number in NUMBERS:
        for field in ("timeout_seconds", "max_attempts"):
            yield f"{field} {number[:10]!r}", "body", b'{"name": "a", "%s": %s}' % (field.encode(), number)
    for number in (b"NaN", b"-Infinity", b"1e999", b"-1e999", b"9223372036854775808", b"-9223372036854775808"):
        yield f"payload {number!r}", "body.payload.a", b'{"name": "a", "payload": {"a": %s}}' % number
    yield "a number of 5,000 digits", "body", b'{"name": "a", "payload": {"a": %s}}' % (b"9" * 5000)


def broken_documents() -> Iterator[tuple[str, str, bytes]]:
    for depth in (65, 199, 300, 20_000):
        yield f"depth {depth}", "body", b'{"name": "a", "payload": %s}' % nested(depth)
    yield "20,001 values", "body.payload", b'{"name": "a", "payload": {"a": [%s]}}' % b",".join([b"1"] * 19_999)
    yield "a long key", "body.payload", b'{"name": "a", "payload": {"%s": 1}}' % (b"k" * 257)
    for value in (b"null", b"[]", b'"x"', b"1", b"true"):
        yield f"payload {value!r}", "body.payload", b'{"name": "a", "payload": %s}' % value
        yield f"body {value!r}", "body", value
    for body in (
        b"",
        b" ",
        b"{",
        b'{"name": "a"',
        b'{"name": "a"} x',
        b"\xef\xbb\xbf{}",
        '{"name": "a"}'.encode("utf-16"),
    ):
        yield f"no JSON {body[:12]!r}", "body", body


def broken_values() -> Iterator[tuple[str, str, bytes]]:
    values: list[tuple[str, Any]] = [
        *[("name", value) for value in (None, 1, True, [], {}, "", " \t\n", "x" * 201)],
        *[("description", value) for value in (1, [], "x" * 10_001)],
        *[("priority", value) for value in (None, "high", "URGENT", 1, "")],
        *[("type", value) for value in ("", " ", "a b", "-a", "x" * 101, 1, "é")],
        *[("queue", value) for value in (None, "", "Default", "a.b", "x" * 61, 1)],
        *[("labels", value) for value in (None, [], "a:b", {str(n): "" for n in range(17)})],
        *[("labels", value) for value in ({"": "a"}, {"a:b": "c"}, {"k" * 64: "v"}, {"k": "v" * 201}, {"k": None})],
        *[("run_at", value) for value in ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00")],
        *[("run_at", value) for value in ("2026-11-01T12:00:00", "2026-11-01", "now", "", 1_800_000_000, "1800000000")],
        *[("run_at", value) for value in ("2026-13-01T00:00:00Z", "2026-11-01T12:00:00+99:99", "٢٠٢٦-11-01T12:00:00Z")],
        *[("timeout_seconds", value) for value in (0.0001, 604_801)],
        *[("max_attempts", value) for value in (26, 1.5)],
        *[(field, "x") for field in ("id", "status", "result", "namee", "Name")],
    ]
    for field, value in values:
        yield f"{field} {str(value)[:20]!r}", f"body.{field}", json.dumps({"name": "a", field: value}).encode()
    # Named by hand: the name of a test is the same in every process.
    yield "run_at in a year and a day", "body.run_at", json.dumps({"name": "a", "run_at": A_YEAR_AND_A_DAY}).encode()


BODIES = list(broken_bodies())
REFUSALS = {"22023", "23503", "22P02", "22P05", "22003", "22021", "54001"}
"""The SQLSTATEs of create_task(), and of the cast of its argument to json."""


@pytest.mark.parametrize(("field", "body"), [case[1:] for case in BODIES], ids=[case[0] for case in BODIES])
async def test_a_broken_body_is_refused_by_the_name_of_its_field(
    shared_client: httpx2.AsyncClient, field: str, body: bytes
) -> None:
    answer = await shared_client.post(TASKS, content=body, headers=JSON)

    assert answer.status_code == 422
    problem = Problem.model_validate_json(answer.content)
    assert problem.code == "validation_error"
    assert problem.errors
    assert problem.errors[0].field.startswith(field)
    assert all(error.message for error in problem.errors)


@pytest.mark.parametrize("body", [case[2] for case in BODIES], ids=[case[0] for case in BODIES])
async def test_create_task_in_sql_refuses_it_too(
    create_in_sql: Callable[[bytes], Awaitable[UUID]], body: bytes
) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await create_in_sql(body)

    assert refused.value.sqlstate in REFUSALS


def unknown_keys(count: int) -> bytes:
    return b'{"name": "a", %s}' % b",".join(b'"%06d":1' % number for number in range(count))


LABELS = b'{"name": "a", "labels": {%s}}' % b",".join(b'"%05d:":1' % number for number in range(80_000))


@pytest.mark.parametrize(
    ("body", "detail", "message"),
    [
        (unknown_keys(900), "900 fields are wrong: body.000000, ", "Extra inputs are not permitted"),
        (unknown_keys(80_000), "one field is wrong: body", "has 80000 errors, too many to name them"),
        (LABELS, "one field is wrong: body.labels", "must have at most 16 labels, not 80000"),
    ],
    ids=["900 unknown keys", "80,000 unknown keys", "80,000 labels"],
)
async def test_a_body_that_is_wrong_in_many_places_costs_little(
    shared_client: httpx2.AsyncClient, body: bytes, detail: str, message: str
) -> None:
    began = time.thread_time()
    answer = await shared_client.post(TASKS, content=body, headers=JSON)
    took = time.thread_time() - began

    assert answer.status_code == 422
    problem = Problem.model_validate_json(answer.content)
    assert problem.detail.startswith(detail)
    assert problem.errors[0].message == message
    assert len(problem.errors) <= 20
    assert took < 0.5


async def test_none_of_them_leaves_anything_behind(client: httpx2.AsyncClient, sql: asyncpg.Connection) -> None:
    for _, _, body in BODIES:
        await client.post(TASKS, content=body, headers=JSON)

    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0


WITHIN_LIMITS = [
    {"name": "\U0001f600" * limits.NAME_CHARS},
    {"name": "a", "description": "\u2028" * limits.DESCRIPTION_CHARS},
    {"name": "a", "payload": json.loads(nested(limits.JSON_DEPTH))},
    {"name": "a", "payload": {"a": [0] * (limits.JSON_NODES - 2)}},
    {
        "name": "a",
        "payload": {"k" * limits.JSON_KEY_CHARS: -(2**63) + 1, "f": 1.7976931348623157e308, "tiny": 5e-324},
    },
    {"name": "a", "labels": {str(number).zfill(63): "v" * 200 for number in range(16)}},
    {"name": "a", "type": "x" * limits.TYPE_CHARS, "timeout_seconds": 0.001, "max_attempts": 1},
    {"name": "';DROP TABLE tasks;--", "payload": {"__proto__": {"$ref": "#"}}},
]


@pytest.mark.parametrize("fields", WITHIN_LIMITS, ids=lambda fields: next(reversed(fields)))
async def test_what_is_just_within_the_limits_is_kept_as_it_is(
    shared_client: httpx2.AsyncClient, fields: dict[str, Any]
) -> None:
    created = await shared_client.post(TASKS, json=fields)

    assert created.status_code == 201, created.text
    read = (await shared_client.get(created.headers["location"])).json()
    assert {name: read[name] for name in fields} == fields


@pytest.mark.parametrize("fields", WITHIN_LIMITS, ids=lambda fields: next(reversed(fields)))
async def test_create_task_in_sql_keeps_it_too(
    shared_client: httpx2.AsyncClient,
    create_in_sql: Callable[[bytes], Awaitable[UUID]],
    fields: dict[str, Any],
) -> None:
    task_id = await create_in_sql(json.dumps(fields).encode())

    read = (await shared_client.get(f"{TASKS}/{task_id}")).json()
    assert {name: read[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=new", "query.status"),
        ("status=NEW,pending", "query.status.1"),
        ("status=NEW&status=PENDING,", "query.status.2"),
        ("status=NEW;PENDING", "query.status"),
        ("status=,", "query.status"),
        ("status=", "query.status"),
        ("priority=LOW,,HIGH", "query.priority"),
        ("priority=1", "query.priority"),
        ("label=a", "query.label"),
        ("label=:b", "query.label"),
        ("label=" + "k" * 64 + ":v", "query.label"),
        ("label=k:" + "v" * 201, "query.label"),
        ("label=a:%00", "query.label"),
        ("&".join(f"label={number}:x" for number in range(17)), "query.label"),
        ("type=a%20b", "query.type"),
        ("type=%00", "query.type"),
        ("queue=A", "query.queue"),
        ("name=", "query.name"),
        ("name=%00", "query.name"),
        ("name=" + "x" * 201, "query.name"),
        ("created_from=2026-11-01", "query.created_from"),
        ("created_from=2026-11-01T12:00:00", "query.created_from"),
        ("created_from=2026-11-01T12:00:00+01:00", "query.created_from"),  # the + is a space
        ("created_from=0", "query.created_from"),
        ("created_to=1800000000", "query.created_to"),
        ("created_to=2026-11-01T25:00:00Z", "query.created_to"),
        ("created_to=%D9%A2026-11-01T12:00:00Z", "query.created_to"),
        ("order=up", "query.order"),
        ("limit=0", "query.limit"),
        ("limit=201", "query.limit"),
        ("limit=x", "query.limit"),
        ("limit=1e1", "query.limit"),
        ("limit=" + "9" * 5000, "query.limit"),
        ("cursor=", "query.cursor"),
        ("cursor=x", "query.cursor"),
        ("cursor=" + "A" * 23, "query.cursor"),
        ("cursor=%00", "query.cursor"),
        ("include_total=maybe", "query.include_total"),
        ("view=all", "query.view"),
        ("offset=1", "query.offset"),
        ("Limit=1", "query.Limit"),
        ("%00=1", "query.\ufffd"),
        ("x" * 10_000 + "=1", "query.xxx"),
        ("limit=1&limit=2", "query.limit"),
        ("cursor=x&cursor=x", "query.cursor"),
        ("order=newest&order=oldest", "query.order"),
        ("name=%FF%FE&limit=0", "query.limit"),  # decodes to U+FFFD, which no name holds
    ],
)
async def test_a_broken_query_is_refused_by_the_name_of_its_parameter(
    shared_client: httpx2.AsyncClient, query: str, field: str
) -> None:
    answer = await shared_client.get(f"{TASKS}?{query}")

    assert answer.status_code == 422, answer.text
    assert Problem.model_validate_json(answer.content).errors[0].field.startswith(field)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", TASKS), ("GET", f"{TASKS}/{AN_ID}"), ("GET", f"{TASKS}/{AN_ID}/status"), ("DELETE", f"{TASKS}/{AN_ID}")],
)
async def test_a_parameter_that_a_call_does_not_know_is_refused(
    shared_client: httpx2.AsyncClient, method: str, path: str
) -> None:
    answer = await shared_client.request(method, f"{path}?view=full", json={"name": "a"} if method == "POST" else None)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "query.view", "message": "is not a parameter of this call"}]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("suffix", ["x", "%00", "%FF", "%ED%A0%80", AN_ID + "0", AN_ID[:-1], "null", "0", "x" * 10_000])
async def test_an_id_that_is_none_is_refused_as_such(
    shared_client: httpx2.AsyncClient, method: str, suffix: str
) -> None:
    answer = await shared_client.request(method, f"{TASKS}/{suffix}")

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["path.task_id"]


@pytest.mark.parametrize("header", ["\xff\xfe", '"' * 1000, ",,,", "W/", "*,*", "x" * 10_000])
async def test_a_tag_that_is_none_is_another_version(shared_client: httpx2.AsyncClient, header: str) -> None:
    answer = await shared_client.get(f"{TASKS}/{AN_ID}", headers={"if-none-match": header.encode("latin-1")})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"],
)
async def test_a_body_that_is_not_declared_as_json_is_415(
    shared_client: httpx2.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = await shared_client.post(TASKS, content=b'{"name": "a"}', headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
async def test_a_body_in_an_encoding_is_415(shared_client: httpx2.AsyncClient, encoding: str) -> None:
    answer = await shared_client.post(TASKS, content=b'{"name": "a"}', headers={**JSON, "content-encoding": encoding})

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding" in answer.json()["detail"]
    assert answer.headers["accept-encoding"] == "identity"


async def test_a_body_without_an_encoding_may_say_so(shared_client: httpx2.AsyncClient) -> None:
    headers = {**JSON, "content-encoding": "Identity"}

    assert (await shared_client.post(TASKS, content=b'{"name": "a"}', headers=headers)).status_code == 201


@pytest.mark.parametrize("content_type", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8"])
async def test_json_may_be_declared_in_each_of_its_ways(shared_client: httpx2.AsyncClient, content_type: str) -> None:
    answer = await shared_client.post(TASKS, content=b'{"name": "a"}', headers={"content-type": content_type})

    assert answer.status_code == 201


async def test_a_body_over_the_limit_is_413(shared_client: httpx2.AsyncClient) -> None:
    body = b'{"name": "' + b"x" * limits.BODY_BYTES + b'"}'

    answer = await shared_client.post(TASKS, content=body, headers=JSON)

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert Problem.model_validate_json(answer.content).code == "body_too_large"


async def test_a_body_that_never_ends_is_cut_off(
    shared_client: httpx2.AsyncClient,
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    answer = await shared_client.post(TASKS, content=endless(), headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert sent <= limits.BODY_BYTES + DROP_BYTES + 2 * 65_536


async def test_a_body_of_exactly_the_limit_is_taken(shared_client: httpx2.AsyncClient) -> None:
    frame = b'{"name": "a", "payload": {"a": "%s"}}'
    body = frame % (b"x" * (limits.BODY_BYTES - len(frame) + 2))

    assert len(body) == limits.BODY_BYTES
    assert (await shared_client.post(TASKS, content=body, headers=JSON)).status_code == 201


async def test_a_body_that_does_not_arrive_is_408(open_parts: Any, open_client: Any, database_url: str) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"name":'
        await asyncio.Event().wait()

    async with (
        open_parts(database_url, deadlines=Deadlines(body_seconds=0.05)) as parts,
        open_client(parts) as client,
    ):
        answer = await client.post(TASKS, content=stalled(), headers=JSON)

    assert answer.status_code == 408
    assert answer.headers["content-type"] == "application/problem+json"
