"""Which types of payloads are as strict as their JSON Schemas say: only by those may the API refuse a payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from typing_extensions import TypedDict

from task_contracts import LENIENT_SCHEMA
from task_worker.payload_schemas import payload_schema


class Plain(BaseModel):
    x: int


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: int


class Aliased(BaseModel):
    other: int = Field(alias="x")


class Recursive(BaseModel):
    x: int
    children: list[Recursive] = []


class CheckedAfter(BaseModel):
    x: int

    @model_validator(mode="after")
    def check(self) -> CheckedAfter:
        return self


class InTypedDict(TypedDict):
    x: int


@dataclass
class InDataclass:
    x: int


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    other: int = Field(alias="x")


class ByOldSetting(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    other: int = Field(alias="x")


class ByChoice(BaseModel):
    x: int = Field(validation_alias=AliasChoices("x", "other"))


class ByPath(BaseModel):
    x: int = Field(validation_alias=AliasPath("other"))


class MendedBefore(BaseModel):
    x: int

    @model_validator(mode="before")
    @classmethod
    def mend(cls, sent: Any) -> Any:
        return {"x": sent["other"]}


class Wrapped(BaseModel):
    x: int

    @model_validator(mode="wrap")
    @classmethod
    def mend(cls, sent: Any, handler: Any) -> Any:
        return handler({"x": sent["other"]})


class OwnInit(BaseModel):
    x: int

    def __init__(self, **given: Any) -> None:
        super().__init__(x=given["other"])


def mended(sent: Any) -> Any:
    return {"x": sent["other"]}


EXACT = [
    Plain,
    Closed,
    Aliased,
    Recursive,
    CheckedAfter,
    InTypedDict,
    InDataclass,
    Annotated[Plain, AfterValidator(lambda read: read)],
]
LENIENT = [
    ByName,
    ByOldSetting,
    ByChoice,
    ByPath,
    MendedBefore,
    Wrapped,
    OwnInit,
    Annotated[Plain, BeforeValidator(mended)],
]


@pytest.mark.parametrize("payload_type", EXACT)
def test_schema_of_a_type_that_refuses_what_it_says_is_not_marked(payload_type: Any) -> None:
    adapter = TypeAdapter(payload_type)

    assert LENIENT_SCHEMA not in payload_schema(adapter)
    with pytest.raises(ValidationError):
        adapter.validate_json(b'{"other": 1}')


@pytest.mark.parametrize("payload_type", LENIENT)
def test_schema_of_a_type_that_takes_more_than_it_says_is_marked(payload_type: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(payload_type)

    assert payload_schema(adapter)[LENIENT_SCHEMA] is True
    adapter.validate_json(b'{"other": 1}')


@pytest.mark.parametrize("payload_type", [Plain | Closed, RootModel[dict[str, int]], list[int]])
def test_schema_of_a_type_without_fields_of_its_own_is_left_to_the_worker(payload_type: Any) -> None:
    assert payload_schema(TypeAdapter(payload_type))[LENIENT_SCHEMA] is True
