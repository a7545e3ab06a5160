"""What a handler may return, what is stored of it, and what is said of a value that cannot be stored."""

from __future__ import annotations

import enum
import itertools
import json
import math
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, RootModel, computed_field, field_serializer
from pydantic.dataclasses import dataclass as pydantic_dataclass

from task_contracts import ErrorCode, UnstorableJsonError, limits
from task_worker.attempt.outcome import Failed, Returned
from task_worker.attempt.result import outcome_of_value, result_text

ID = UUID(int=1)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Size(enum.Enum):
    SMALL = "s"
    PAIR = (1, Decimal(2))


class Text(str):
    __slots__ = ()


class Number(float):
    """Like numpy's float64, which is a float too."""


class Row(BaseModel):
    when: timedelta
    price: Decimal = Decimal("1.10")


class Rows(RootModel[list[Row]]):
    pass


@dataclass
class Pair:
    left: Any
    right: Any = None


@pydantic_dataclass
class Checked:
    at: date


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": [1, 2.5, True, None, "é"]}, {"a": [1, 2.5, True, None, "é"]}),
        ((1, (2, 3)), [1, [2, 3]]),
        ([Level.HIGH, Colour.RED, Text("t"), Number(1.5)], [3, "red", "t", 1.5]),
        (Row(when=timedelta(seconds=1)), {"when": "PT1S", "price": "1.10"}),
        ({"rows": [Row(when=timedelta(0))]}, {"rows": [{"when": "PT0S", "price": "1.10"}]}),
        (Rows([Row(when=timedelta(0))]), [{"when": "PT0S", "price": "1.10"}]),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
        ([date(2026, 1, 2), time(3, 4), timedelta(hours=1)], ["2026-01-02", "03:04:00", "PT1H"]),
        ({"id": ID, "price": Decimal("1.10"), "file": Path("/a/b")}, {"id": str(ID), "price": "1.10", "file": "/a/b"}),
        ([Size.SMALL, Size.PAIR], ["s", [1, "2"]]),
        (Pair(Pair({1}), (ID,)), {"left": {"left": [1], "right": None}, "right": [str(ID)]}),
        ([Checked(date(2026, 1, 2))], [{"at": "2026-01-02"}]),
        ([{1}, frozenset({"a"}), Point(1, {2})], [[1], ["a"], [1, [2]]]),
        ({Colour.RED: 1, 2: 2, ID: 3, date(2026, 1, 2): 4}, {"red": 1, "2": 2, str(ID): 3, "2026-01-02": 4}),
        (b"bytes", "bytes"),
        (0, 0),
        ("", ""),
        (False, False),
        (2**63 - 1, 2**63 - 1),
        (-(2**63) + 1, -(2**63) + 1),
    ],
)
def test_values_are_stored_as_pydantic_writes_them(value: Any, kept: Any) -> None:
    text = result_text(value)

    assert text is not None
    assert json.loads(text) == kept


def test_nothing_returned_is_no_result() -> None:
    assert outcome_of_value(None) == Returned(None)


def cyclic() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


class Node(BaseModel):
    inner: Any = None


def cyclic_model() -> Node:
    node = Node()
    node.inner = node
    return node


def shared() -> Any:
    """Return a small tree whose JSON would have 10**40 values."""
    tree: Any = {0}
    for _ in range(40):
        tree = [tree] * 10
    return tree


class Endless(list[object]):
    """A list that pydantic and orjson read as [nan]; who iterates over it never ends."""

    def __iter__(self) -> Any:
        return itertools.count()


class Hidden(dict[str, object]):
    """A dict whose own `items` shows nothing of what orjson would write."""

    def items(self) -> Any:
        return ()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: "a\x00b", id="nul"),
        pytest.param(lambda: {"\x00": 1}, id="nul-key"),
        pytest.param(lambda: math.nan, id="nan"),
        pytest.param(lambda: [math.inf], id="infinity"),
        pytest.param(lambda: [Number(math.nan), {1}], id="nan-of-a-library"),
        pytest.param(lambda: "\ud800", id="surrogate"),
        pytest.param(cyclic, id="cyclic"),
        pytest.param(lambda: Pair(cyclic()), id="cyclic-dataclass"),
        pytest.param(cyclic_model, id="cyclic-model"),
        pytest.param(shared, id="shared"),
        pytest.param(lambda: "x" * 50_000_000, id="50-mb"),
        pytest.param(lambda: "é" * (limits.RESULT_BYTES // 2), id="just-too-large"),
        pytest.param(lambda: 2**63, id="int-beyond-64-bits"),
        pytest.param(lambda: -(2**63), id="int-below-64-bits"),
        pytest.param(lambda: [0] * 30_000, id="too-many"),
        pytest.param(lambda: set(range(30_000)), id="too-many-in-a-set"),
        pytest.param(lambda: b"\xff", id="bytes-that-are-no-text"),
        pytest.param(lambda: object(), id="object"),
        pytest.param(lambda: (n for n in itertools.count()), id="endless-generator"),
        pytest.param(lambda: [itertools.count()], id="endless-iterator"),
        pytest.param(lambda: Endless([math.nan]), id="endless-list"),
        pytest.param(lambda: Hidden(a=math.nan), id="hidden"),
    ],
)
def test_what_cannot_be_stored_is_refused_in_one_short_sentence(make: Callable[[], Any]) -> None:
    with pytest.raises(UnstorableJsonError) as caught:
        result_text(make())

    assert len(str(caught.value)) < 300


class Owner:
    """A class that pydantic has no JSON for."""

    def __repr__(self) -> str:
        raise SystemExit(3)


class Item(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    owner: Owner
    price: float = 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Owner(), "the value: is of type {module}.Owner, which is not JSON"),
        ({"items": [1, 2, 3, {"owner": Owner()}]}, "items.3.owner: is of type {module}.Owner, which is not JSON"),
        ({"items": [Item(owner=Owner())]}, "items.0.owner: is of type {module}.Owner, which is not JSON"),
        (Pair(1, [{ID: Owner}]), f"right.0.{ID}: is of type type, which is not JSON"),
        ({"a": {Owner(): 1}}, "a: has a key of type {module}.Owner, which is not JSON"),
        ({"a": {1: 1, "1": 2}}, "a.1: stands for two keys, which are one in JSON"),
        ({"a": [{1}, math.nan]}, "a.1: is not a finite number"),
        ([Item.model_construct(owner=None, price=math.inf)], "0.price: is not a finite number"),
        ({"a": (n for n in "abc")}, "a: is of type generator, which is not JSON"),
    ],
)
def test_refusal_names_the_place_and_the_class(value: Any, message: str) -> None:
    outcome = outcome_of_value(value)

    assert isinstance(outcome, Failed)
    assert outcome.is_final
    assert outcome.error.code == ErrorCode.UNSTORABLE_RESULT
    assert outcome.error.message == "the result cannot be stored: " + message.format(module=__name__)


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise SystemExit(4)


@dataclass
class Raising:
    error: BaseException

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name == "error":
            raise value
        return value


class Leaving(BaseModel):
    x: int = 1

    @field_serializer("x")
    def leave(self, value: int) -> int:
        raise SystemExit(value)


class Broken(BaseModel):
    @computed_field  # type: ignore[prop-decorator] # as pydantic's documentation has it
    @property
    def size(self) -> int:
        raise KeyError("size")


class Pretending:
    def __getattribute__(self, name: str) -> Any:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(lambda: [Raising(SystemExit(2))], "0: is not JSON: SystemExit: 2", id="leaves"),
        pytest.param(lambda: [Raising(Unspeakable())], "0: is not JSON: Unspeakable", id="error-without-a-text"),
        pytest.param(lambda: {"a": Leaving()}, "SystemExit: 1", id="serialiser-leaves"),
        pytest.param(lambda: [Broken()], "KeyError", id="property-of-a-model"),
        pytest.param(lambda: Pretending(), "KeyboardInterrupt", id="class-of-its-own-making"),
    ],
)
def test_users_code_that_fails_while_its_value_is_written_fails_that_attempt_alone(
    make: Callable[[], Any], name: str
) -> None:
    outcome = outcome_of_value(make())

    assert isinstance(outcome, Failed)
    assert name in outcome.error.message


def test_the_largest_result_is_kept() -> None:
    assert result_text("x" * (limits.RESULT_BYTES - 2)) is not None
