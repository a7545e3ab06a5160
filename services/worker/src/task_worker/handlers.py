"""Handlers: the users' functions that run tasks.

    from task_worker import Context, handler

    class Report(BaseModel):
        month: str

    @handler("report.build", timeout_seconds=60, max_attempts=5)
    async def build(payload: Report, context: Context) -> dict[str, int]:
        ...

An async function runs on the worker's event loop, a plain function in a thread, and one that is marked `in_process` in
a process of its own. Both parameters may be left out. The decorated function is not changed: a unit test can call it.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import orjson
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from task_contracts import JsonValue, TypeName, limits
from task_worker.context import Context
from task_worker.payload_schemas import payload_schema

_MARK = "__task_handler__"
_TYPE_NAME: TypeAdapter[str] = TypeAdapter(TypeName)

Function = TypeVar("Function", bound=Callable[..., Any])


class HandlerError(Exception):
    """A handler cannot be used as it is written. The text says which one and why; its code must be changed."""


class InvalidPayloadError(Exception):
    """The payload of a task does not fit its handler; `reason` says where."""

    def __init__(self, reason: ValidationError) -> None:
        super().__init__("the payload does not fit the handler")
        self.reason = reason


class ExecutionMode(StrEnum):
    """Where a handler runs."""

    LOOP = "loop"
    THREAD = "thread"
    PROCESS = "process"


@dataclass(frozen=True)
class _HandlerOptions:
    type: str
    timeout_seconds: float | None
    max_attempts: int | None
    in_process: bool


@dataclass(frozen=True)
class Handler:
    """A handler, ready to be called.

    A limit is None if it sets none; `payload_type` and `schema`, its JSON Schema, if it takes any payload.
    """

    type: str
    function: Callable[..., Any]
    mode: ExecutionMode
    timeout_seconds: float | None
    max_attempts: int | None
    takes_payload: bool
    takes_context: bool
    payload_type: TypeAdapter[Any] | None
    schema: dict[str, Any] | None

    def begin(self, payload: Mapping[str, JsonValue], context: Context | None) -> Any:
        """Call the function; return what it returns, which is a coroutine if it is async.

        A function that takes no context needs none.

        Validators of the payload's type run too: call it where the code of users may run, within its time limit.

        Raises:
            InvalidPayloadError: the payload does not fit the type of the function's first parameter.
            BaseException: whatever the function and the validators raise.

        """
        return self.function(*self.arguments(payload, context))

    def arguments(self, payload: Mapping[str, JsonValue], context: Context | None) -> tuple[Any, ...]:
        """Return the arguments for the function. Errors as for `begin`."""
        given: list[Any] = []
        if self.takes_payload:
            given.append(self._validated(payload))
        if self.takes_context:
            given.append(context)
        return tuple(given)

    def _validated(self, payload: Mapping[str, JsonValue]) -> Any:
        if self.payload_type is None:
            return payload
        try:
            # As JSON: only then a strict model reads a time or an id from a text.
            return self.payload_type.validate_json(orjson.dumps(payload))
        except ValidationError as error:
            raise InvalidPayloadError(error) from error

    def payload_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of the payload, or None if the handler takes any payload."""
        return self.schema


def handler(
    type: str,  # noqa: A002 # the API uses this word
    *,
    timeout_seconds: float | None = None,
    max_attempts: int | None = None,
    in_process: bool = False,
) -> Callable[[Function], Function]:
    """Mark a function as the handler of a type of task.

    Args:
        type: the `type` of the tasks that it runs: letters, digits and `._:/-`, up to 100 characters.
        timeout_seconds: the longest run of one attempt. A task's own limit wins; the worker's setting is the default.
        max_attempts: how many attempts may fail before the task FAILs. A task's own limit wins; the worker's setting is
            the default.
        in_process: run it in a process of its own, which can be killed: for code that cannot be cancelled, holds the
            interpreter lock, or may crash. The process is kept for the next task, and the arguments are copied.

    Raises:
        HandlerError: the type or a limit is out of range, or the parentheses are missing.

    """
    if callable(type):
        name = getattr(type, "__name__", "a function")
        raise HandlerError(f'{name} is decorated with @handler alone: write @handler("name")')
    try:
        _TYPE_NAME.validate_python(type)
    except ValidationError:
        raise HandlerError(f"{type!r} is not a type: letters, digits and . _ : / - only, at most 100") from None
    if timeout_seconds is not None and not limits.TIMEOUT_SECONDS_MIN <= timeout_seconds <= limits.TIMEOUT_SECONDS_MAX:
        raise HandlerError(f"{type}: timeout_seconds must be between 0.001 and {limits.TIMEOUT_SECONDS_MAX}")
    if max_attempts is not None and not 1 <= max_attempts <= limits.ATTEMPTS_MAX:
        raise HandlerError(f"{type}: max_attempts must be between 1 and {limits.ATTEMPTS_MAX}")

    def mark(function: Function) -> Function:
        others = [options for options in _marks(function) if options.type != type]
        setattr(function, _MARK, (_HandlerOptions(type, timeout_seconds, max_attempts, in_process), *others))
        return function

    return mark


def handlers_of(function: object) -> list[Handler]:
    """Return the handlers of a decorated function, one for each `@handler` above it; none for anything else.

    Raises:
        HandlerError: its parameters are not `(payload, context)` or fewer, or its payload type cannot be used.

    """
    return [_handler(options, function) for options in _marks(function) if callable(function)]


def handler_of(function: object) -> Handler | None:
    """Return the handler of a decorated function, that of the topmost `@handler`, or None for anything else.

    Raises:
        HandlerError: as `handlers_of`.

    """
    return next(iter(handlers_of(function)), None)


def one_line(error: BaseException) -> str:
    """Return the class and the first line of the text of an exception of the user's code, which may raise anything."""
    try:
        text = str(error).strip().partition("\n")[0]
    except BaseException:  # noqa: BLE001 # the `str` of a user's exception
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _marks(thing: object) -> tuple[_HandlerOptions, ...]:
    try:
        marks = getattr(thing, _MARK, ())
    except BaseException:  # noqa: BLE001 # a proxy, such as Flask's `current_app`, raises what it likes
        return ()
    return marks if isinstance(marks, tuple) and all(isinstance(one, _HandlerOptions) for one in marks) else ()


def _handler(options: _HandlerOptions, function: Callable[..., Any]) -> Handler:
    is_async = inspect.iscoroutinefunction(function)
    takes_payload, takes_context, payload_type = _signature(options.type, function)
    mode = ExecutionMode.LOOP if is_async else ExecutionMode.THREAD
    return Handler(
        type=options.type,
        function=function,
        mode=ExecutionMode.PROCESS if options.in_process else mode,
        timeout_seconds=options.timeout_seconds,
        max_attempts=options.max_attempts,
        takes_payload=takes_payload,
        takes_context=takes_context,
        payload_type=payload_type,
        schema=_schema(options.type, payload_type) if payload_type else None,
    )


def _signature(type_: str, function: Callable[..., Any]) -> tuple[bool, bool, TypeAdapter[Any] | None]:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is inspect.Parameter.empty]
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except BaseException as error:  # the annotations are code of the user's
        raise HandlerError(f"{type_}: an annotation cannot be resolved: {one_line(error)}") from error
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len(parameters) > 2 or any(p.kind not in positional for p in parameters):  # payload, context
        raise HandlerError(f"{type_}: a handler takes (payload, context) or fewer; other parameters need a default")
    takes_context = bool(parameters) and _is_context(parameters[-1], hints)
    payload = parameters[: len(parameters) - takes_context]
    if len(payload) > 1:
        raise HandlerError(f"{type_}: the second parameter must be annotated as Context")
    if not payload:
        return False, takes_context, None
    return True, takes_context, _payload_type(type_, hints.get(payload[0].name))


def _is_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    hint = hints.get(parameter.name)
    return hint is Context or (hint is None and parameter.name == "context")


def _payload_type(type_: str, hint: Any) -> TypeAdapter[Any] | None:
    if hint in (None, Any, dict, object) or typing.get_origin(hint) in (dict, Mapping):
        return None
    try:
        return TypeAdapter(hint)
    except BaseException as error:  # a type can have code of the user's
        raise _unusable(type_, error) from error


def _schema(type_: str, payload_type: TypeAdapter[Any]) -> dict[str, Any]:
    try:
        schema = payload_schema(payload_type)
        text = orjson.dumps(schema)
    except BaseException as error:  # as above
        raise _unusable(type_, error) from error
    if b"\\u0000" in text:
        raise HandlerError(f"{type_}: the JSON Schema of its payload holds a NUL, which cannot be stored")
    return schema


def _unusable(type_: str, error: BaseException) -> HandlerError:
    reason = one_line(error)
    if isinstance(error, PydanticSchemaGenerationError | PydanticUserError):
        reason = error.message.splitlines()[0]
    return HandlerError(f"{type_}: the type of its payload cannot be used: {reason}")
