"""The body of POST /tasks, as the API reads it: strictly, from raw bytes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from task_contracts import Priority, TaskCreate, limits
from task_contracts.testing import a_create


def read(**fields: Any) -> TaskCreate:
    return TaskCreate.model_validate_json(json.dumps({"name": "a task", **fields}))


def refused_places(body: bytes | str) -> set[str]:
    with pytest.raises(ValidationError) as refused:
        TaskCreate.model_validate_json(body)
    return {".".join(map(str, error["loc"])) for error in refused.value.errors(include_url=False)}


def refused_field(**fields: Any) -> set[str]:
    return refused_places(json.dumps({"name": "a task", **fields}))


def test_a_name_is_enough() -> None:
    asked = read()

    assert asked == a_create()
    assert (asked.priority, asked.queue, asked.type) == (Priority.MEDIUM, "default", None)
    assert (asked.labels, asked.payload) == ({}, {})
    assert (asked.run_at, asked.timeout_seconds, asked.max_attempts) == (None, None, None)


def test_every_field_can_be_given() -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    asked = read(
        description="why",
        priority="HIGH",
        type="report.build",
        queue="reports",
        labels={"customer": "42"},
        payload={"rows": [1, 2.5, None, True, "x", {}]},
        run_at=soon.isoformat(),
        timeout_seconds=1,
        max_attempts=25,
    )

    assert asked.priority is Priority.HIGH
    assert asked.run_at == soon
    assert asked.timeout_seconds == 1.0
    assert TaskCreate.model_validate_json(asked.model_dump_json()) == asked


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 1),
        ("name", None),
        ("name", True),
        ("description", 5),
        ("priority", "high"),
        ("priority", 1),
        ("priority", None),
        ("type", 1),
        ("queue", None),
        ("labels", None),
        ("labels", []),
        ("payload", None),
        ("payload", []),
        ("payload", "{}"),
        ("timeout_seconds", True),
        ("timeout_seconds", False),
        ("timeout_seconds", "10"),
        ("max_attempts", True),
        ("max_attempts", "3"),
        ("max_attempts", 3.0),
        ("run_at", True),
    ],
)
def test_a_value_of_another_type_is_refused_at_its_field(field: str, value: Any) -> None:
    assert refused_field(**{field: value}) == {field}


def test_an_unknown_field_is_refused_by_its_name() -> None:
    assert refused_field(pririty="HIGH") == {"pririty"}
    assert refused_field(status="COMPLETED", id="x") == {"status", "id"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff", b'{"name": "\xff"}', b"{}{}", b"{'a'}"]
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    refused_places(body)


@pytest.mark.parametrize(
    ("field", "fits", "too_much"),
    [
        ("name", "n" * limits.NAME_CHARS, "n" * (limits.NAME_CHARS + 1)),
        ("name", "😀" * limits.NAME_CHARS, "😀" * (limits.NAME_CHARS + 1)),
        ("description", "d" * limits.DESCRIPTION_CHARS, "d" * (limits.DESCRIPTION_CHARS + 1)),
        ("description", "", "d" * (limits.DESCRIPTION_CHARS + 1)),
        ("type", "t" * limits.TYPE_CHARS, "t" * (limits.TYPE_CHARS + 1)),
        ("queue", "q" * limits.QUEUE_CHARS, "q" * (limits.QUEUE_CHARS + 1)),
        ("timeout_seconds", limits.TIMEOUT_SECONDS_MAX, limits.TIMEOUT_SECONDS_MAX + 0.001),
        ("timeout_seconds", limits.TIMEOUT_SECONDS_MIN, 0),
        ("timeout_seconds", 1, -1),
        ("max_attempts", limits.ATTEMPTS_MAX, limits.ATTEMPTS_MAX + 1),
        ("max_attempts", 1, 0),
        (
            "labels",
            {f"k{i}": "v" for i in range(limits.LABELS_MAX)},
            {f"k{i}": "v" for i in range(limits.LABELS_MAX + 1)},
        ),
    ],
)
def test_a_limit_lets_through_its_own_value_and_nothing_beyond(field: str, fits: Any, too_much: Any) -> None:
    assert getattr(read(**{field: fits}), field) == fits

    assert refused_field(**{field: too_much}) == {field}


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u2028", "\u3000"])
def test_a_blank_name_is_refused(name: str) -> None:
    assert refused_field(name=name) == {"name"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_timeout_that_is_not_finite_is_refused(number: str) -> None:
    assert refused_places(f'{{"name": "a", "timeout_seconds": {number}}}') == {"timeout_seconds"}


@pytest.mark.parametrize("text", ["a\\u0000b", "\\u0000"])
@pytest.mark.parametrize(
    "place", ['"name": "{}"', '"name": "a", "description": "{}"', '"name": "a", "labels": {{"k": "{}"}}']
)
def test_the_nul_character_is_refused_in_every_text(text: str, place: str) -> None:
    refused_places("{" + place.format(text) + "}")


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "\\ud800"}',
        '{"name": "\\udc00\\ud800"}',
        '{"name": "a", "labels": {"\\ud800": "v"}}',
        '{"name": "a", "payload": {"\\udfff": 1}}',
        '{"name": "a", "payload": {"a": ["\\ud83d"]}}',
    ],
)
def test_a_lone_surrogate_is_refused_anywhere(body: str) -> None:
    refused_places(body)


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert TaskCreate.model_validate_json('{"name": "\\ud83d\\ude00"}').name == "😀"


@pytest.mark.parametrize("name", ["echo", "report.build", "a/b:c-d_e", "0", "A" * limits.TYPE_CHARS])
def test_a_type_may_be_a_dotted_or_a_path_like_name(name: str) -> None:
    assert read(type=name).type == name


@pytest.mark.parametrize("name", ["", " ", ".a", "-a", "a b", "a\n", "\na", "ä", "a\u0000", "a*"])
def test_a_type_with_other_characters_is_refused(name: str) -> None:
    assert refused_field(type=name) == {"type"}


@pytest.mark.parametrize("queue", ["", "Reports", "a.b", "_a", "a\n", "a b", "ä"])
def test_a_queue_is_lower_case_letters_digits_and_dashes(queue: str) -> None:
    assert read(queue="re-ports_2").queue == "re-ports_2"
    assert refused_field(queue=queue) == {"queue"}


@pytest.mark.parametrize(
    "labels",
    [
        {"": "v"},
        {"a:b": "v"},
        {"k" * (limits.LABEL_KEY_CHARS + 1): "v"},
        {"k": "v" * (limits.LABEL_VALUE_CHARS + 1)},
        {"k": 1},
        {"k": None},
        {"k": ["v"]},
        {"k\u0000": "v"},
    ],
)
def test_a_label_that_is_no_short_pair_of_strings_is_refused(labels: dict[str, Any]) -> None:
    places = refused_field(labels=labels)

    assert {place.partition(".")[0] for place in places} == {"labels"}


def test_a_label_may_be_as_long_as_its_limits_and_its_value_empty_or_with_a_colon() -> None:
    labels = {"k" * limits.LABEL_KEY_CHARS: "v" * limits.LABEL_VALUE_CHARS, "empty": "", "url": "http://x:1"}

    assert read(labels=labels).labels == labels


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ('{"a": NaN}', "finite"),
        ('{"a": [1e999]}', "finite"),
        ('{"a": 9223372036854775808}', "64 bits"),
        ('{"a": -9223372036854775808}', "64 bits"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"\\u0000": 1}', "NUL"),
        pytest.param('{"a": ' + "[" * 70 + "]" * 70 + "}", "deeper", id="deep"),
        pytest.param('{"a": [' + "0," * limits.JSON_NODES + "0]}", "values", id="many values"),
        pytest.param('{"' + "k" * (limits.JSON_KEY_CHARS + 1) + '": 1}', "longer", id="long key"),
    ],
)
def test_a_payload_that_cannot_be_kept_is_refused_with_the_reason(payload: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as refused:
        TaskCreate.model_validate_json(f'{{"name": "a", "payload": {payload}}}')

    assert [error["loc"] for error in refused.value.errors()] == [("payload",)]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("[" * 5_000 + "]" * 5_000, id="deep"),
        pytest.param('{"a": 1' + "0" * 5_000 + "}", id="a long number"),
    ],
)
def test_a_payload_that_would_break_a_parser_is_refused(payload: str) -> None:
    refused_places(f'{{"name": "a", "payload": {payload}}}')


@pytest.mark.parametrize(
    "moment",
    [
        1_800_000_000,
        1_800_000_000.5,
        "1800000000",
        "1800000000.5",
        "1800000000000",
        "",
        "tomorrow",
        "2026-11-01",
        "2026-11-01T12:00Z",
        "2026-11-01T12:00:00",
        "2026-11-01 12:00:00Z",
        "2026-11-01T12:00:00+0100",
        "2026-11-01T12:00:00+01",
        "20261101T120000Z",
        "2026-W44-7T12:00:00Z",
        "2026-11-01T12:00:00Z\n",
        " 2026-11-01T12:00:00Z",
        "2026-11-01T12:00:00\u221201:00",
        "\uff12\uff10\uff12\uff16-11-01T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-11-01T24:00:00Z",
        "2026-11-01T12:60:00Z",
        "2026-11-01T12:00:00+24:00",
        "+2026-11-01T12:00:00Z",
    ],
)
def test_run_at_is_a_moment_of_rfc_3339_and_nothing_else(moment: Any) -> None:
    assert refused_field(run_at=moment) == {"run_at"}


@pytest.mark.parametrize(
    "moment",
    [
        "9999-12-31T23:59:59-12:00",
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2000-01-01T00:00:00+00:01",
    ],
)
def test_run_at_out_of_bounds_is_refused(moment: str) -> None:
    assert refused_field(run_at=moment) == {"run_at"}


def test_run_at_may_lie_a_year_ahead_and_no_further() -> None:
    now = datetime.now(UTC)
    within = now + timedelta(days=limits.RUN_AT_HORIZON_DAYS)

    assert read(run_at=within.isoformat()).run_at == within
    assert refused_field(run_at=(within + timedelta(minutes=1)).isoformat()) == {"run_at"}


@pytest.mark.parametrize(
    ("moment", "meant"),
    [
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("2026-11-01t12:00:00z", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("2026-11-01T12:00:00.123456+05:30", datetime(2026, 11, 1, 6, 30, 0, 123456, tzinfo=UTC)),
        ("2026-11-01T00:00:00-23:59", datetime(2026, 11, 1, 23, 59, tzinfo=UTC)),
        ("2026-11-01T12:00:00-00:00", datetime(2026, 11, 1, 12, tzinfo=UTC)),
    ],
)
def test_run_at_becomes_utc(moment: str, meant: datetime) -> None:
    run_at = read(run_at=moment).run_at

    assert run_at == meant
    assert run_at.tzinfo is UTC


@given(st.datetimes(timezones=st.timezones()))
def test_run_at_takes_any_moment_or_refuses_it_with_a_validation_error(moment: datetime) -> None:
    try:
        run_at = TaskCreate(name="a", run_at=moment).run_at
    except ValidationError:
        return

    assert run_at is not None
    assert run_at == moment.astimezone(UTC)  # a local time in the gap of a clock change equals nothing in Python
    assert datetime(2000, 1, 1, tzinfo=UTC) <= run_at


def test_a_datetime_without_an_offset_is_refused_in_python_too() -> None:
    with pytest.raises(ValidationError):
        a_create(run_at=datetime(2026, 11, 1))  # what this test is about


def test_the_published_schema_says_what_is_refused() -> None:
    properties = TaskCreate.model_json_schema()["properties"]

    assert properties["labels"]["propertyNames"] == {"minLength": 1, "maxLength": 63, "pattern": r"^[^:\u0000]+$"}
    assert properties["labels"]["additionalProperties"]["pattern"] == r"^[^\u0000]*$"
    assert properties["description"]["anyOf"][0]["pattern"] == r"^[^\u0000]*$"
    assert properties["run_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert TaskCreate.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    ("name", "is_valid"), [("a", True), (" a\n", True), ("\n", False), ("", False), ("a\0", False), ("\0a", False)]
)
def test_the_published_schema_says_which_names_are_refused(name: str, is_valid: bool) -> None:
    pattern = TaskCreate.model_json_schema()["properties"]["name"]["pattern"]

    assert bool(re.search(pattern, name)) is is_valid


def test_the_examples_of_the_published_schema_are_accepted() -> None:
    for example in TaskCreate.model_json_schema()["examples"]:
        TaskCreate.model_validate_json(json.dumps(example))
