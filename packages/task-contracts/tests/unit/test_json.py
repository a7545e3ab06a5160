"""The check of JSON: what it accepts can be stored and comes back unchanged."""

from __future__ import annotations

import itertools
import json
import math
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_contracts import UnstorableJsonError, check_json, check_text, limits, storable_text

BOUND = limits.INTEGER_BOUND

any_text = st.text(st.characters(exclude_categories=[]), max_size=20)  # NUL and lone surrogates too
any_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=BOUND - 2, max_value=BOUND + 2),
    st.floats(),
    any_text,
)
any_tree = st.recursive(
    any_scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.tuples(inner, inner), st.dictionaries(any_text, inner, max_size=5)
    ),
    max_leaves=30,
)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    ONE = 1


class Shade(Enum):
    DARK = "dark"


class Point(NamedTuple):
    x: int


class Real(float):
    """Like the floats of numpy."""


def scalars(value: Any) -> list[Any]:
    """Return every scalar and every key of a tree."""
    if isinstance(value, dict):
        return [*value, *(leaf for item in value.values() for leaf in scalars(item))]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in scalars(item)]
    return [value]


def is_unstorable(leaf: Any) -> bool:
    if isinstance(leaf, str):
        return "\x00" in leaf or any(0xD800 <= ord(char) <= 0xDFFF for char in leaf)
    if isinstance(leaf, float):
        return not math.isfinite(leaf)
    return isinstance(leaf, int) and abs(leaf) >= BOUND


def with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: with_lists(item) for key, item in value.items()}
    return [with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def refusal_of(value: object) -> UnstorableJsonError:
    with pytest.raises(UnstorableJsonError) as refused:
        check_json(value)
    return refused.value


@given(any_tree)
def test_what_is_let_through_comes_back_unchanged_and_what_is_refused_could_not_be_kept(tree: Any) -> None:
    try:
        kept = check_json(tree)
    except UnstorableJsonError:
        assert any(is_unstorable(leaf) for leaf in scalars(tree))
        return

    assert kept is tree
    assert not any(is_unstorable(leaf) for leaf in scalars(tree))
    assert orjson.loads(orjson.dumps(tree)) == with_lists(tree)
    assert json.loads(json.dumps(tree)) == with_lists(tree)


@pytest.mark.parametrize(
    "value", [Colour.RED, Level.ONE, [Colour.RED], {"a": Level.ONE}, (1, (2,)), True, -0.0, 5e-324]
)
def test_a_value_that_json_can_write_is_let_through(value: object) -> None:
    assert check_json(value) is value
    assert orjson.loads(orjson.dumps(value)) == with_lists(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Real(1.5), "Real"),
        (Point(1), "Point"),
        ({Colour.RED: 1}, "Colour"),
        ({1: 1}, "int"),
        ({None: 1}, "NoneType"),
        ({("a",): 1}, "tuple"),
        ({"a"}, "set"),
        (b"a", "bytes"),
        (object(), "object"),
        (1j, "complex"),
        (Shade.DARK, "Shade"),
    ],
)
def test_what_json_cannot_write_is_refused_by_the_name_of_its_type(value: object, kind: str) -> None:
    assert kind in refusal_of(value).reason


@pytest.mark.parametrize("value", [BOUND, -BOUND, 1 << 70, -(1 << 70), math.nan, math.inf, -math.inf])
def test_a_number_that_would_be_changed_is_refused(value: float) -> None:
    refusal_of(value)


@pytest.mark.parametrize("value", [BOUND - 1, 1 - BOUND, 0, 1.7976931348623157e308])
def test_the_largest_numbers_are_let_through(value: float) -> None:
    assert check_json(value) == value


def test_a_refusal_names_the_place_and_never_the_value() -> None:
    refused = refusal_of({"rows": [0, {"price": "secret\x00"}]})

    assert refused.path == ("rows", "1", "price")
    assert str(refused) == "rows.1.price: must not contain the NUL character"
    assert "secret" not in str(refused)


def test_a_refusal_at_the_top_says_so() -> None:
    assert str(refusal_of(math.nan)) == "the value: is not a finite number"


def test_a_refused_key_is_not_repeated() -> None:
    refused = refusal_of({"a": {"secret\ud800": 1}})

    assert refused.path == ("a",)
    assert "secret" not in str(refused)


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels - 1):
        value = [value]
    return value


def test_depth_is_let_through_up_to_its_limit() -> None:
    assert check_json(nested(limits.JSON_DEPTH))
    assert "deeper" in refusal_of(nested(limits.JSON_DEPTH + 1)).reason
    assert "deeper" in refusal_of(nested(100_000)).reason


def test_a_long_path_is_cut_in_the_refusal() -> None:
    assert len(refusal_of(nested(200)).path) == 8


def test_nodes_are_counted_up_to_their_limit() -> None:
    assert check_json([0] * (limits.JSON_NODES - 1))
    assert "more than" in refusal_of([0] * limits.JSON_NODES).reason
    assert "more than" in refusal_of([[0] * 200] * 200).reason


def test_a_huge_list_is_refused_before_it_is_walked() -> None:
    class Counted(list[int]):
        walked = 0

        def __iter__(self) -> Any:
            Counted.walked += 1
            return super().__iter__()

    refusal_of({"a": Counted([0]) * 1_000_000 + [0]})
    refusal_of(Counted(range(limits.JSON_NODES)))

    assert Counted.walked == 0


def test_keys_are_let_through_up_to_their_limit() -> None:
    assert check_json({"k" * limits.JSON_KEY_CHARS: 0})
    assert "longer" in refusal_of({"k" * (limits.JSON_KEY_CHARS + 1): 0}).reason


class Hidden(dict[str, object]):
    def items(self) -> Any:
        return ()


class Endless(list[object]):
    def __iter__(self) -> Any:
        return itertools.repeat(1)


def test_lists_and_dicts_are_read_as_they_are_written_whatever_a_subclass_overrides() -> None:
    for tree in (Hidden(a=math.nan), Endless([math.nan])):
        with pytest.raises(UnstorableJsonError, match="finite"):
            check_json(tree)


def test_a_cycle_is_refused() -> None:
    line: list[Any] = []
    line.append(line)
    fan: dict[str, Any] = {}
    fan.update(a=fan, b=fan, c=[fan, fan])

    refusal_of(line)
    refusal_of(fan)


def test_a_value_that_stands_in_many_places_is_no_cycle() -> None:
    shared = {"a": [1]}

    assert check_json([shared] * 100)


@given(any_text)
def test_text_is_checked_or_made_storable(text: str) -> None:
    made = storable_text(text, max_chars=1_000)

    assert check_text(made) == made
    made.encode()
    if is_unstorable(text):
        with pytest.raises(ValueError, match="must not contain"):
            check_text(text)
    else:
        assert check_text(text) is text
        assert made == text


@given(any_text, st.integers(min_value=1, max_value=25))
def test_storable_text_is_never_longer_than_asked(text: str, max_chars: int) -> None:
    made = storable_text(text, max_chars)

    assert len(made) <= max_chars
    assert made == storable_text(text, 1_000) or made.endswith("…")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\ufeffa", "\ufeffa"),
    ],
)
def test_storable_text_replaces_only_what_cannot_be_kept(text: str, made: str) -> None:
    assert storable_text(text, 100) == made
