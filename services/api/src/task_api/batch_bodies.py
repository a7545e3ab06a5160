"""Reads the body of POST /tasks/batch, up to 4 MiB, without keeping the event loop from other requests.

Its values are counted in the bytes before they are parsed: a body of nothing but brackets takes a second to parse. A
body that is small and valid is validated at once. Of any other each task is validated by itself, as the body of
POST /tasks would be.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from task_api.fields import ERRORS_MAX, field_problems
from task_api.problems import invalid, too_many_errors
from task_contracts import FieldProblem, TaskBatch, TaskCreate, limits

_SLICE_SECONDS = 0.02
"""How long the event loop is kept at most, but for one task, or for parsing what was counted."""
_TOKENS_A_LOOK = 1_000
_SMALL_BYTES = 128 << 10
"""A body of at most so many bytes is validated at once: it takes a few milliseconds."""

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|,|[\[{](?!\s*+[\]}])', re.DOTALL)
"""A string, whether it ends or not; a comma; the beginning of a list or an object that is not empty."""
_TOKENS_MAX = 4 * limits.BATCH_JSON_NODES
"""More than so many values can have: a comma or a bracket, a string and a key each."""

# So that a number that is none is refused for what it is, as in the body of POST /tasks, and not as a null.
_JSON: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))

BatchBody = Annotated[bytes, PlainValidator(bytes, json_schema_input_type=TaskBatch), Body()]
"""The body of POST /tasks/batch as it was sent; `read_batch` reads it."""


class _Outline(BaseModel):
    """A batch whose tasks are not looked at yet."""

    model_config = ConfigDict(strict=True, extra="forbid")

    tasks: list[Any] = Field(min_length=1, max_length=limits.BATCH_TASKS_MAX)


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """A valid batch: its tasks, and the body that it was read from."""

    tasks: Sequence[TaskCreate]
    body: bytes

    @property
    def sent(self) -> Any:
        """The JSON as it was sent."""
        return _JSON.validate_json(self.body)


async def read_batch(body: bytes) -> ReadBatch:
    """Return the batch that a body holds.

    Raises:
        ProblemError: 422: it is not valid. The fields are named as `body.tasks.17.payload`.

    """
    turns = _Turns()
    await _check_count(body, turns)
    if len(body) <= _SMALL_BYTES:
        with suppress(ValidationError):  # what is wrong with it is said below
            return ReadBatch(TaskBatch.model_validate_json(body).tasks, body)
    return ReadBatch(await _validated_one_by_one(body, turns), body)


async def _validated_one_by_one(body: bytes, turns: _Turns) -> list[TaskCreate]:
    try:
        sent = _JSON.validate_json(body)
        await turns.give()
        if not isinstance(sent, dict):
            raise invalid([FieldProblem(field="body", message="Input should be an object")])
        _refuse_countless_fields(sent)
        outline = _Outline.model_validate(sent)
    except ValidationError as error:
        raise _Wrong().with_errors(error).as_problem() from None
    tasks, wrong = [], _Wrong()
    for place, one in enumerate(outline.tasks):
        _refuse_countless_fields(one)
        text = _JSON.dump_json(one)
        if len(text) > limits.BODY_BYTES:
            wrong.with_too_large(place)
        else:
            try:
                tasks.append(TaskCreate.model_validate_json(text))
            except ValidationError as error:
                wrong.with_errors(error, "tasks", place)
        await turns.give()
    if wrong.count:
        raise wrong.as_problem()
    return tasks


class _Turns:
    """Lets the event loop do other things every now and then."""

    def __init__(self) -> None:
        self._since = perf_counter()

    async def give(self) -> None:
        if perf_counter() - self._since >= _SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = perf_counter()


class _Wrong:
    """The errors of a body: the first ones, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._problems: list[FieldProblem] = []

    def with_errors(self, error: ValidationError, *place: str | int) -> _Wrong:
        """Add the errors of what stands at this place of the body.

        Raises:
            ProblemError: they are too many to be described.

        """
        self.count += error.error_count()
        if self.count > limits.FIELD_ERRORS_MAX:
            raise too_many_errors(self.count)
        if len(self._problems) < ERRORS_MAX:
            self._problems += field_problems(_at(place, one) for one in error.errors(include_url=False))
        return self

    def with_too_large(self, place: int) -> None:
        """Add the error of a task that would be too large by itself."""
        self.count += 1
        message = f"is larger than {limits.BODY_BYTES} bytes"
        self._problems.append(FieldProblem(field=f"body.tasks.{place}", message=message))

    def as_problem(self) -> Exception:
        """Return the 422 that names them."""
        return invalid(self._problems[:ERRORS_MAX], self.count)


def _at(place: tuple[str | int, ...], error: Mapping[str, Any]) -> dict[str, Any]:
    return {**error, "loc": ("body", *place, *error["loc"])}


async def _check_count(body: bytes, turns: _Turns) -> None:
    """Refuse a body of too many JSON values.

    It may be no JSON at all: then it is refused when it is parsed, unless there is too much of it here already.
    """
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) < limits.BATCH_JSON_NODES:
        return  # so few, even if none of them stands in a text
    values = 1
    for tokens, token in enumerate(_TOKEN.finditer(body), 1):
        values += body[token.start()] != ord('"')
        if values > limits.BATCH_JSON_NODES or tokens > _TOKENS_MAX:
            message = f"has more than {limits.BATCH_JSON_NODES} JSON values"
            raise invalid([FieldProblem(field="body", message=message)])
        if tokens % _TOKENS_A_LOOK == 0:
            await turns.give()
    await turns.give()


def _refuse_countless_fields(sent: Any) -> None:
    """Refuse an object of so many fields that most are unknown, before each of them becomes an error."""
    if isinstance(sent, dict) and len(sent) > limits.FIELD_ERRORS_MAX:
        raise too_many_errors(len(sent))
