"""The steps that flows yield and clients carry out, and what they are answered with.

A flow is a generator: it yields steps and is sent the outcome of each. A client only carries the steps out. So the
synchronous and the asynchronous client cannot differ, and tests need neither network nor time.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import httpx2

from task_client._call import Call

Result = TypeVar("Result")

SILENT_SECONDS = 45.0
"""A stream that says nothing for three times its interval between comments (15 s) is dead."""


@dataclass(frozen=True)
class Send:
    """Send a call. `timeout_seconds` bounds it where that is less than the client's own timeout."""

    call: Call
    timeout_seconds: float = math.inf


@dataclass(frozen=True)
class Wait:
    """Wait for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Listen:
    """Open a stream of events, and read it in the background until `Unlisten`, its end or the end of the flow."""

    stream: int
    call: Call


@dataclass(frozen=True)
class Hear:
    """Return what any stream says next (`StreamNews`); None if that is nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Unlisten:
    """Close a stream. Nothing more is heard of it."""

    stream: int


@dataclass(frozen=True)
class Emit:
    """Give the caller an item."""

    item: Any


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The flow has ended with a result."""

    result: Result


@dataclass(frozen=True)
class StreamNews:
    """What a stream says: an event, or that it is over, or (neither) that something came, such as a comment.

    A stream that is over has ended by itself (`is_over` alone), or was refused with `response`, or failed with `error`.
    """

    stream: int
    event: httpx2.ServerSentEvent | None = None
    is_over: bool = False
    response: httpx2.Response | None = None
    error: httpx2.RequestError | None = None


Step: TypeAlias = Send | Wait | Listen | Hear | Unlisten | Emit
StepOutcome: TypeAlias = httpx2.Response | httpx2.RequestError | StreamNews | None
"""The outcome of a step: a response or an error of `Send`, news or None of `Hear`, None of all others."""
Flow: TypeAlias = Generator[Step, StepOutcome, Result]


def advance(flow: Flow[Result], outcome: StepOutcome) -> Step | Done[Result]:
    """Give the flow the outcome of its last step (None to begin), and return its next step.

    Raises:
        TaskClientError: the flow ended with it.

    """
    try:
        return flow.send(outcome)
    except StopIteration as end:
        return Done(end.value)
