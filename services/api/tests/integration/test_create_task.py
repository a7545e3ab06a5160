"""The SQL function create_task() takes and stores what POST takes and stores, and refuses what POST refuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from task_api.database import bring_up_to_date
from task_api.parts import ApiParts
from task_contracts import TaskCreate, limits

TASKS = "/api/v1/tasks"
JSON = {"content-type": "application/json"}
OF_ONE_TASK = {"id", "created_at", "due_at"}
BOUND = limits.INTEGER_BOUND
A_YEAR = datetime.now(UTC) + timedelta(days=limits.RUN_AT_HORIZON_DAYS)
BLANKS = "".join(chr(code) for code in range(0x110000) if chr(code).isspace())

NUMBERS = [
    *["0", "0.0", "1", "1e2", "1E+2", "1e-2", "0.001", "604800", "604801", "1e-400", "1e19", "10000000000000000000.0"],
    *["9223372036854775807", "9223372036854775808", "9" * 30, "1e308", "1e309", "1.7976931348623158e308"],
    *["1.7976931348623159e308", "1e400"],
]
"""Around the bounds, and each in the ways in which JSON writes numbers."""

CreateInSql = Callable[[bytes], Awaitable[UUID]]

texts = st.one_of(
    st.text(max_size=5),
    st.text(st.sampled_from(f"aZ9._:/-{BLANKS}\x00\u200b\ufeff"), max_size=5),
    st.just("\ud800"),
    st.sampled_from([limit + more for limit in (63, 100, 200, 256, 10_000) for more in (0, 1)]).map("é".__mul__),
)
numbers = st.one_of(
    st.integers(-2, 30),
    st.sampled_from([BOUND - 1, BOUND, -BOUND, 1 - BOUND, 10**18, 10**19, 10**400]),
    st.floats(),
    st.sampled_from([0.001, 0.0009999, 604_800, 604_800.1, 1e300, 5e-324, 1.7976931348623157e308]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
deep_trees = st.builds(
    lambda levels, leaf: json.loads('{"a":[' * levels + json.dumps(leaf) + "]}" * levels), st.integers(1, 34), scalars
)
wide_trees = st.builds(
    lambda values, more: {"a": [{}] * values, **more},
    st.integers(limits.JSON_NODES - 4, limits.JSON_NODES),
    st.dictionaries(texts, scalars, max_size=2),
)
moments = st.one_of(
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.sampled_from([A_YEAR - timedelta(hours=1), A_YEAR + timedelta(hours=1)]).map(datetime.isoformat),
    st.from_regex(
        r"(19|20)\d\d-[01]\d-[0-3]\d[Tt ]([01]\d|2\d):[0-6]\d:[0-6]\d(\.\d{0,12})?([Zz]|[+-]\d\d:?[0-6]\d)?",
        fullmatch=True,
    ),
)
fields_of_tasks: dict[str, st.SearchStrategy[Any]] = {
    "name": st.one_of(texts, scalars),
    "description": st.one_of(texts, scalars),
    "priority": st.one_of(st.sampled_from(["LOW", "MEDIUM", "HIGH", "low"]), scalars),
    "type": st.one_of(texts, scalars),
    "queue": st.one_of(st.sampled_from(["default", "reports", "other"]), texts, scalars),
    "labels": st.one_of(
        st.dictionaries(texts, texts, max_size=3),
        st.integers(15, 17).map(lambda count: {str(number): "" for number in range(count)}),
        trees,
    ),
    "payload": st.one_of(st.dictionaries(texts, trees, max_size=3), deep_trees, wide_trees, trees),
    "run_at": st.one_of(moments, scalars),
    "timeout_seconds": scalars,
    "max_attempts": scalars,
}
fields_but_one = st.sampled_from(list(fields_of_tasks)).flatmap(
    lambda name: st.tuples(st.just(name), fields_of_tasks[name])
)
bodies = st.one_of(
    st.lists(fields_but_one, max_size=2).map(lambda fields: {"name": "a task", **dict(fields)}),
    st.fixed_dictionaries({}, optional=fields_of_tasks),
    st.dictionaries(st.sampled_from([*fields_of_tasks, "id", "Name"]), scalars),
    trees,
)


def is_taken(body: bytes, known: tuple[str, ...]) -> bool:
    """Return whether POST takes the body; `test_bad_input.py` holds that it does what the model says."""
    try:
        return TaskCreate.model_validate_json(body).queue in known and len(body) <= limits.BODY_BYTES
    except ValueError:
        return False


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies)
async def test_it_takes_and_stores_what_post_does_and_refuses_what_post_refuses(
    shared_client: httpx2.AsyncClient, shared_parts: ApiParts, create_in_sql: CreateInSql, fields: Any
) -> None:
    body = json.dumps(fields).encode()
    if not is_taken(body, shared_parts.settings.queues):
        with pytest.raises(asyncpg.PostgresError) as refused:
            await create_in_sql(body)
        assert refused.value.sqlstate in {"22023", "23503", "22P02", "22P05", "22003"}
        return

    task_id = await create_in_sql(body)
    posted = await shared_client.post(TASKS, content=body, headers=JSON)

    assert posted.status_code == 201
    in_sql = (await shared_client.get(f"{TASKS}/{task_id}")).json()
    assert without(OF_ONE_TASK, in_sql) == without(OF_ONE_TASK, posted.json())


def without(names: set[str], shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name not in names}


@given(st.text(st.sampled_from(BLANKS + "\u200b\ufeff\u180e"), min_size=1, max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_it_calls_blank_what_python_calls_blank(create_in_sql: CreateInSql, name: str) -> None:
    body = json.dumps({"name": name}).encode()
    if name.strip():
        await create_in_sql(body)
    else:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^name: must not be blank"):
            await create_in_sql(body)


async def test_what_the_client_writes_is_taken_as_it_is(
    shared_client: httpx2.AsyncClient, create_in_sql: CreateInSql
) -> None:
    asked = TaskCreate(name="a task", payload={"a": [1, 2.5, None]}, run_at=datetime.now(UTC) + timedelta(days=1))

    task_id = await create_in_sql(asked.model_dump_json().encode())

    read = (await shared_client.get(f"{TASKS}/{task_id}")).json()
    assert {**json.loads(asked.model_dump_json()), "type": "echo"}.items() <= read.items()


@pytest.mark.parametrize(
    ("field", "number"),
    [
        *[("payload", f'{{"a": {sign}{number}}}') for sign in ("", "-") for number in NUMBERS],
        *[
            ("timeout_seconds", number)
            for number in (*NUMBERS, "0.00099999999999999999999", "0.0009", "604800.00000000000001")
        ],
        *[("max_attempts", number) for number in (*NUMBERS, "25", "26", "3.0", "3e0", "2.5e1")],
    ],
)
async def test_a_number_is_read_as_post_reads_it(
    shared_client: httpx2.AsyncClient, create_in_sql: CreateInSql, field: str, number: str
) -> None:
    body = f'{{"name": "a", "{field}": {number}}}'.encode()
    posted = await shared_client.post(TASKS, content=body, headers=JSON)
    if posted.status_code == 422:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{field}: "):
            await create_in_sql(body)
        return

    read = (await shared_client.get(f"{TASKS}/{await create_in_sql(body)}")).json()
    assert posted.status_code == 201
    assert read[field] == posted.json()[field]


@pytest.mark.parametrize(
    "moment",
    [
        *[
            "2000-01-01T00:00:00Z",
            "1999-12-31T23:59:59.999999Z",
            "2000-01-01T00:00:00+00:01",
            "2000-01-01T00:00:00-00:01",
        ],
        *[
            "2026-11-01t12:00:00.9999999z",
            "2026-11-01T12:00:00.123456789Z",
            "2026-11-01T12:00:00.1Z",
            "2026-11-01T12:00:00.",
        ],
        *[
            "2026-11-01T12:00:00+23:59",
            "2026-11-01T12:00:00-23:59",
            "2026-11-01T12:00:00+24:00",
            "2026-11-01T12:00:60Z",
        ],
        *[
            "2026-02-29T12:00:00Z",
            "2024-02-29T12:00:00Z",
            "2026-11-01 12:00:00Z",
            "2026-11-01T24:00:00Z",
            "0000-01-01T00:00:00Z",
        ],
        pytest.param((A_YEAR - timedelta(minutes=30)).isoformat(), id="nearly a year ahead"),
        pytest.param((A_YEAR + timedelta(minutes=30)).isoformat(), id="more than a year ahead"),
    ],
)
async def test_a_moment_is_read_as_post_reads_it(
    shared_client: httpx2.AsyncClient, create_in_sql: CreateInSql, moment: str
) -> None:
    body = json.dumps({"name": "a", "run_at": moment}).encode()
    posted = await shared_client.post(TASKS, content=body, headers=JSON)
    if posted.status_code == 422:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=r"^run_at: "):
            await create_in_sql(body)
        return

    read = (await shared_client.get(f"{TASKS}/{await create_in_sql(body)}")).json()
    assert posted.status_code == 201
    assert read["run_at"] == posted.json()["run_at"]
    assert datetime.fromisoformat(read["due_at"]) == max(
        datetime.fromisoformat(read["run_at"]), datetime.fromisoformat(read["created_at"])
    )


@pytest.mark.parametrize(
    "payload", [b'{ "a" :  1e2, "b": 1.0 }', b'{"a": 1e300, "b": -0, "c": "\\u00e9"}', '{"é": "\U0001f600"}'.encode()]
)
async def test_the_payload_is_stored_as_it_was_written_with_its_size(
    shared_parts: ApiParts, create_in_sql: CreateInSql, payload: bytes
) -> None:
    task_id = await create_in_sql(b'{"name": "a", "payload": ' + payload + b"}")

    connection = await asyncpg.connect(shared_parts.settings.database_url.get_secret_value(), timeout=10)
    row = await connection.fetchrow("SELECT payload::text, payload_bytes FROM tasks WHERE id = $1", task_id)
    await connection.close(timeout=10)
    assert tuple(row) == (payload.decode(), len(payload))


@pytest.mark.parametrize("more", [0, 1])
async def test_a_task_may_be_as_large_as_a_body(create_in_sql: CreateInSql, more: int) -> None:
    body = b'{"name": "a", "payload": {"a": "%s"}}'
    body %= b"x" * (limits.BODY_BYTES - len(body) + 2 + more)
    if not more:
        assert len(body) == limits.BODY_BYTES
        await create_in_sql(body)
        return

    with pytest.raises(asyncpg.InvalidParameterValueError, match="larger than 1048576 bytes"):
        await create_in_sql(body)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a": 1e999, "a": 1}',
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b', "a": 1}',
        b'{"a": "\\u0000", "a": 1}',
    ],
    ids=["number", "depth", "NUL"],
)
async def test_of_a_repeated_key_every_value_is_checked(create_in_sql: CreateInSql, payload: bytes) -> None:
    """POST stores the last one alone; here the text is stored, and what reads it may stumble over the first."""
    with pytest.raises(asyncpg.DataError):
        await create_in_sql(b'{"name": "a", "payload": ' + payload + b"}")


async def test_of_a_repeated_field_the_last_counts_as_in_post(
    shared_client: httpx2.AsyncClient, create_in_sql: CreateInSql
) -> None:
    body = b'{"payload": [], "name": 1, "timeout_seconds": 0, "name": "b", "timeout_seconds": 2, "payload": {"a": 1}}'

    task_id = await create_in_sql(body)

    read = (await shared_client.get(f"{TASKS}/{task_id}")).json()
    assert (read["name"], read["timeout_seconds"], read["payload"]) == ("b", 2, {"a": 1})


@pytest.mark.parametrize(
    "payload", [b"0," * 500_000 + b"0", b"1e131000," * 100_000 + b"0"], ids=["zeros", "huge numbers"]
)
async def test_a_payload_of_very_many_values_is_refused_after_the_first(
    create_in_sql: CreateInSql, payload: bytes
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="more than 20000 values"):
        await create_in_sql(b'{"name": "a", "payload": {"a": [' + payload + b"]}}")


@pytest.mark.parametrize("task", ["NULL", "'null'", "'[]'", "'1'", """'"name"'"""])
async def test_what_is_no_object_is_refused(shared_parts: ApiParts, task: str) -> None:
    connection = await asyncpg.connect(shared_parts.settings.database_url.get_secret_value(), timeout=10)
    with pytest.raises(asyncpg.InvalidParameterValueError, match="the task must be a JSON object"):
        await connection.fetchval(f"SELECT create_task({task})")
    await connection.close(timeout=10)


async def test_the_queues_of_every_api_exist_each_with_the_default_type_of_the_last(
    parts: ApiParts, sql: asyncpg.Connection
) -> None:
    await bring_up_to_date(
        parts.settings.model_copy(update={"queues": ("first", "both"), "default_type": "echo"}), parts.database
    )
    await bring_up_to_date(
        parts.settings.model_copy(update={"queues": ("both",), "default_type": None}), parts.database
    )

    rows = await sql.fetch("SELECT name, default_type FROM queues ORDER BY name")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="type: is required"):
        await sql.execute("""SELECT create_task('{"name": "a", "queue": "both"}')""")
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="no such queue; there are: both, first"):
        await sql.execute("""SELECT create_task('{"name": "a", "queue": "third"}')""")
    assert [tuple(row) for row in rows] == [("both", None), ("first", "echo")]
