from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict  # pydantic asks for it before Python 3.12

from task_worker import Context, HandlerError, handler
from task_worker.context import TaskDetails
from task_worker.handlers import ExecutionMode, Handler, InvalidPayloadError, handler_of

if TYPE_CHECKING:
    from decimal import Decimal


class Report(BaseModel):
    month: str
    copies: int = 1


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    when: datetime
    id: UUID


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Row(TypedDict):
    name: str


@pytest.fixture
def context(some_details: Callable[..., TaskDetails]) -> Context:
    return Context(some_details(), report=lambda _: None, store_checkpoint=lambda _: Future(), is_stopped=lambda: False)


def handler_for(function: Callable[..., Any], **options: Any) -> Handler:
    found = handler_of(handler("t", **options)(function))
    assert found is not None
    return found


def test_a_decorated_function_stays_what_it_is() -> None:
    @handler("report.build", timeout_seconds=60, max_attempts=5)
    def build(payload: Report) -> int:
        return payload.copies

    assert build(Report(month="2026-10")) == 1
    found = handler_of(build)
    assert found is not None
    assert (found.type, found.timeout_seconds, found.max_attempts) == ("report.build", 60, 5)


def test_anything_else_is_no_handler() -> None:
    assert [handler_of(thing) for thing in (len, Report, 3, None, "text", handler)] == [None] * 6


def test_the_mode_follows_from_the_function() -> None:
    async def on_loop() -> None: ...

    def in_thread() -> None: ...

    assert handler_for(on_loop).mode is ExecutionMode.LOOP
    assert handler_for(in_thread).mode is ExecutionMode.THREAD
    assert handler_for(on_loop, in_process=True).mode is ExecutionMode.PROCESS
    assert handler_for(in_thread, in_process=True).mode is ExecutionMode.PROCESS


def test_both_parameters_may_be_left_out(context: Context) -> None:
    def neither() -> None: ...

    def payload_only(payload: Report) -> None: ...

    def context_only(context: Context) -> None: ...

    def by_name(context) -> None: ...  # type: ignore[no-untyped-def] # as users write

    def both(payload: Report, task: Context) -> None: ...

    def with_defaults(payload: Report, task: Context, *, again: bool = False) -> None: ...

    report = Report(month="m")
    sent = {"month": "m"}
    assert handler_for(neither).arguments(sent, context) == ()
    assert handler_for(payload_only).arguments(sent, context) == (report,)
    assert handler_for(context_only).arguments(sent, context) == (context,)
    assert handler_for(by_name).arguments(sent, context) == (context,)
    assert handler_for(both).arguments(sent, context) == (report, context)
    assert handler_for(with_defaults).arguments(sent, context) == (report, context)


def test_a_payload_of_any_kind_is_given_as_it_came(context: Context) -> None:
    def bare(payload) -> None: ...  # type: ignore[no-untyped-def] # as users write

    def plain(payload: dict) -> None: ...  # type: ignore[type-arg] # as users write

    def anything(payload: Any) -> None: ...

    def named(payload: dict[str, Any]) -> None: ...

    def mapping(payload: Mapping[str, object]) -> None: ...

    for function in (bare, plain, anything, named, mapping):
        found = handler_for(function)
        assert found.arguments({"a": [1]}, context) == ({"a": [1]},)
        assert found.payload_schema() is None


def test_a_payload_is_validated_by_its_type(context: Context) -> None:
    def model(payload: Report) -> None: ...

    def dataclass(payload: Point) -> None: ...

    def typed_dict(payload: Row) -> None: ...

    def annotated(payload: Annotated[Report, Field(description="a report")]) -> None: ...

    assert handler_for(model).arguments({"month": "m", "copies": "2"}, context) == (Report(month="m", copies=2),)
    assert handler_for(dataclass).arguments({"x": 1}, context) == (Point(1),)
    assert handler_for(typed_dict).arguments({"name": "n"}, context) == ({"name": "n"},)
    assert handler_for(annotated).arguments({"month": "m"}, context) == (Report(month="m"),)
    for function in (model, dataclass, typed_dict, annotated):
        with pytest.raises(InvalidPayloadError):
            handler_for(function).arguments({}, context)
        assert handler_for(function).payload_schema()


def test_a_strict_model_reads_a_payload_as_the_json_that_it_was(context: Context) -> None:
    def strict(payload: Strict) -> None: ...

    task_id = uuid4()

    (read,) = handler_for(strict).arguments({"when": "2026-11-01T12:00:00Z", "id": str(task_id)}, context)

    assert read.id == task_id


def test_annotations_are_found_where_they_are_texts(context: Context) -> None:
    def texts(payload: "Report", task: "Context") -> None: ...  # noqa: UP037 # what is tested

    assert handler_for(texts).arguments({"month": "m"}, context) == (Report(month="m"), context)


def test_an_annotation_that_cannot_be_resolved_is_an_error() -> None:
    def unknown(payload: Decimal) -> None: ...

    with pytest.raises(
        HandlerError, match="t: an annotation cannot be resolved: NameError: name 'Decimal' is not defined"
    ):
        handler_for(unknown)


def test_an_annotation_that_is_no_attribute_is_an_error() -> None:
    def unknown(payload: dataclasses.nothing) -> None: ...  # type: ignore[name-defined] # what is tested

    with pytest.raises(HandlerError, match="t: an annotation cannot be resolved"):
        handler_for(unknown)


class Opaque:
    pass


class HoldsOpaque(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: Opaque


def test_wrong_signatures_are_errors() -> None:
    def three(payload: Report, context: Context, more: int) -> None: ...

    def other_second(payload: Report, more: int) -> None: ...

    def keyword(payload: Report, *, context: Context) -> None: ...

    def rest(*payloads: Report) -> None: ...

    def opaque(payload: Opaque) -> None: ...

    def no_schema(payload: HoldsOpaque) -> None: ...

    messages = {
        three: "a handler takes (payload, context) or fewer",
        other_second: "the second parameter must be annotated as Context",
        keyword: "a handler takes (payload, context) or fewer",
        rest: "a handler takes (payload, context) or fewer",
        opaque: "the type of its payload cannot be used",
        no_schema: "the type of its payload cannot be used",
    }
    for function, message in messages.items():
        with pytest.raises(HandlerError, match=re.escape(message)) as caught:
            handler_for(function)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("type_", "options"),
    [
        ("", {}),
        ("with space", {}),
        ("x" * 101, {}),
        ("t", {"timeout_seconds": 0}),
        ("t", {"timeout_seconds": 8 * 24 * 3600}),
        ("t", {"timeout_seconds": float("nan")}),
        ("t", {"max_attempts": 0}),
        ("t", {"max_attempts": 26}),
    ],
)
def test_what_is_out_of_range_is_an_error(type_: str, options: dict[str, Any]) -> None:
    with pytest.raises(HandlerError):
        handler(type_, **options)


def test_a_validator_may_raise_whatever_it_likes(context: Context) -> None:
    class Odd(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def _broken(cls, value: int) -> int:
            raise LookupError("not there")

    def odd(payload: Odd) -> None: ...

    with pytest.raises(LookupError):
        handler_for_local(odd, Odd).arguments({"n": 1}, context)


def handler_for_local(function: Callable[..., Any], payload: type[BaseModel]) -> Handler:
    function.__annotations__["payload"] = payload
    return handler_for(function)
