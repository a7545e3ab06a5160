from __future__ import annotations

from typing import Any

import pytest

from task_contracts import Progress, TaskError
from task_store import UnreadableJsonError
from task_store.database import _to_json
from task_store.stored_json import read_json, read_labels, read_model, read_object


def nested(levels: int) -> str:
    return '{"a":' * (levels - 1) + "[]" + "}" * (levels - 1)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63) + 1, 1e19, 9.223372036854775808e18, 1e308, "ü", [None, True]])
def test_what_was_written_is_read_as_it_was(value: object) -> None:
    read = read_json("result", _to_json(value))

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["1e999", "1" + "0" * 400, r'"\ud800"', nested(201), "[" * 5000 + "]" * 5000], ids=lambda text: text[:9]
)
def test_text_that_the_database_takes_and_no_answer_can_show_is_an_error(text: str) -> None:
    with pytest.raises(UnreadableJsonError, match=r"^the stored result cannot be read: "):
        read_json("result", text)


@pytest.mark.parametrize("text", [nested(200), "[" + "[]," * 400 + "[]]", '"' + "[" * 400 + '"'], ids=lambda t: t[:9])
def test_many_brackets_are_read_where_they_are_not_too_deep(text: str) -> None:
    assert _to_json(read_json("result", text)) == text


@pytest.mark.parametrize("text", ["null", "[]", "5"])
def test_payload_is_an_object(text: str) -> None:
    with pytest.raises(UnreadableJsonError, match=r"^the stored payload cannot be read: not a JSON object$"):
        read_object("payload", text)


@pytest.mark.parametrize("text", ["null", '["a"]', '{"a": 1}', '{"a": null}'])
def test_labels_are_strings(text: str) -> None:
    with pytest.raises(UnreadableJsonError, match=r"^the stored labels cannot be read: "):
        read_labels("labels", text)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (TaskError, '"secret"'),
        (TaskError, '{"code": "secret"}'),
        (Progress, '{"percent": "secret"}'),
        (Progress, '{"percent": 1' + "0" * 400 + "}"),
        (Progress, "[]"),
    ],
)
def test_error_and_progress_have_their_shape_and_a_refusal_does_not_repeat_the_value(model: Any, text: str) -> None:
    with pytest.raises(UnreadableJsonError) as refused:
        read_model(model, "column", text)

    assert str(refused.value) == f"the stored column cannot be read: not the JSON of a {model.__name__}"


def test_json_is_written_without_spaces_and_as_it_is() -> None:
    assert _to_json({"é": [1, None, 0.5]}) == '{"é":[1,null,0.5]}'
