from __future__ import annotations

import pytest
from sqlalchemy import JSON, Integer, Text, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from task_store._driver_statement import driver_statement
from task_store._statements.parameters import parameter
from task_store.statements_page import statements


def test_only_an_array_of_nothing_but_none_is_sent_empty() -> None:
    names = ("nothing", "some", "empty")
    arrays = driver_statement(select(*(parameter(name, ARRAY(Text())) for name in names), parameter("one", Text())))

    assert arrays.arguments({"nothing": [None, None], "some": [None, "a"], "empty": [], "one": None}) == [
        [],
        [None, "a"],
        [],
        None,
    ]


def test_arguments_stand_in_the_order_of_the_text_with_those_that_the_statement_brings_along() -> None:
    first, second = parameter("first", Integer()), parameter("second", Integer())
    sent = driver_statement(select(second, first + 7 * second))

    assert sent.text == "SELECT $1::INTEGER AS anon_1, $2::INTEGER + $3::INTEGER * $1::INTEGER AS anon_2"
    assert sent.arguments({"first": 1, "second": 2, "unknown": 3}) == [2, 1, 7]


def test_a_parameter_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="id"):
        driver_statement(select(parameter("id", Integer()))).arguments({})


def test_a_parameter_that_would_have_to_be_converted_is_refused() -> None:
    with pytest.raises(TypeError, match="given_payload"):
        driver_statement(select(parameter("payload", JSON())))


def test_a_text_is_sent_as_it_is() -> None:
    assert driver_statement(text("SELECT 1")).text == "SELECT 1"


@pytest.mark.parametrize("name", sorted(statements()))
def test_every_statement_can_be_sent_by_the_driver(name: str) -> None:
    assert driver_statement(statements()[name].sql).text
