"""What the API and the worker tell a tracer, and the one that traces nothing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol
from uuid import UUID


class TracedAttempt(NamedTuple):
    """What a span says of an attempt. `traceparent` is what was stored with its task."""

    task_id: UUID
    type: str
    queue: str
    attempt: int
    traceparent: str | None


class AttemptSpan(Protocol):
    """The span of an attempt, while its code runs."""

    @property
    def traceparent(self) -> str | None:
        """What names this span to others; None where it is not traced."""

    def failed(self, code: str) -> None:
        """Note that the attempt has failed, by the code of its error."""


class Tracer(Protocol):
    """Makes a span where tasks are stored, and one for each attempt: never one around a loop."""

    def sending(self, queues: Iterable[str], caller: str | None) -> AbstractContextManager[str | None]:
        """Trace the block that stores a task for each of `queues`; gives the `traceparent` to store with them.

        Args:
            queues: of the tasks.
            caller: the header `traceparent` of the request, as it was sent; what is no such header is ignored.

        """

    def processing(self, attempt: TracedAttempt) -> AbstractContextManager[AttemptSpan]:
        """Trace the block that runs an attempt: a child of where its task was stored, if it is the first.

        A later one is a trace of its own with a link to there: it may come days after it.
        """


class _NoSpan:
    traceparent: str | None = None

    def failed(self, code: str) -> None:
        del code


class NoTracer:
    """Traces nothing."""

    _nothing: AbstractContextManager[None] = nullcontext()
    _no_attempt: AbstractContextManager[AttemptSpan] = nullcontext(_NoSpan())

    def sending(self, queues: Iterable[str], caller: str | None) -> AbstractContextManager[str | None]:
        """Trace nothing."""
        del queues, caller
        return self._nothing

    def processing(self, attempt: TracedAttempt) -> AbstractContextManager[AttemptSpan]:
        """Trace nothing."""
        del attempt
        return self._no_attempt


NO_TRACER: Tracer = NoTracer()
