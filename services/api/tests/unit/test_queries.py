from __future__ import annotations

import itertools
import string
from typing import Any

import pytest
from pydantic import ValidationError

from task_api.queries import ListQuery
from task_contracts import Priority, TaskStatus

EVERY = {"status": TaskStatus, "priority": Priority}
WORDS = ["".join(letters) for letters in itertools.product(string.ascii_letters, repeat=2)]


@pytest.mark.parametrize("name", EVERY)
def test_several_values_may_be_separated_by_commas_or_repeated_or_both(name: str) -> None:
    values = list(EVERY[name])
    forms = [values, [",".join(values)], [values[0], ",".join(values[1:])], [",".join([*values, values[0]])]]

    assert [getattr(ListQuery.model_validate({name: form}), name) for form in forms] == [values] * 4


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("text", [",", "LOW,", ",NEW", "NEW,,LOW", "NEW, LOW", ",".join(WORDS)])
def test_each_part_must_be_a_value_and_few_of_the_wrong_ones_are_named(name: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ListQuery.model_validate({name: [text]})

    assert refused.value.error_count() <= 20
    assert {error["loc"][0] for error in refused.value.errors()} == {name}


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ({}, "newest"),
        ({"idempotency_key": "k"}, "oldest"),
        ({"idempotency_key": "k", "order": "newest"}, "newest"),
        ({"order": "oldest"}, "oldest"),
    ],
)
def test_the_order_of_a_key_is_that_of_its_batch_unless_another_is_asked_for(query: dict[str, str], order: str) -> None:
    assert ListQuery.model_validate(query).to_filter().order == order


def test_a_comma_is_a_part_of_a_label() -> None:
    assert ListQuery.model_validate({"label": ["team:x,y:z"]}).label == [("team", "x,y:z")]


async def test_the_document_says_both_forms(client: Any) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/api/v1/tasks"]["get"]
    described = {parameter["name"]: parameter for parameter in operation["parameters"]}

    for name in EVERY:
        assert "commas" in described[name]["description"]
        assert described[name]["schema"]["type"] == "array"
