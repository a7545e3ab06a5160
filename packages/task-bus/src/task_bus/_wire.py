"""Turns the models of `task_contracts` into bodies of messages, and back."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from task_contracts import DueTasks, Signal

BODY_BYTES_MAX = 64 << 10
"""A larger body is refused without parsing it; messages of ours are far smaller."""


class ForeignMessageError(ValueError):
    """A body that is not a message of this version: garbage, or a message of another version."""


def encode_due_tasks(ids: Iterable[UUID]) -> bytes:
    """Return the body of a message that names `ids`.

    Raises:
        ValueError: there are none, or more than 50.

    """
    return DueTasks(ids=tuple(ids)).model_dump_json().encode()


def decode_due_tasks(body: bytes) -> tuple[UUID, ...]:
    """Return the ids that `body` names.

    Raises:
        ForeignMessageError: it is not a message of this version.

    """
    try:
        return DueTasks.model_validate_json(_checked(body)).ids
    except ValueError:
        # Without the cause: pydantic's text shows the body.
        raise ForeignMessageError from None


def encode_signal(signal: Signal) -> bytes:
    """Return the body of `signal`."""
    return signal.model_dump_json().encode()


def decode_signal(body: bytes) -> Signal:
    """Return the signal in `body`.

    Raises:
        ForeignMessageError: it is not a signal of this version.

    """
    try:
        return Signal.model_validate_json(_checked(body))
    except ValueError:
        raise ForeignMessageError from None


def _checked(body: bytes) -> bytes:
    if len(body) > BODY_BYTES_MAX:
        raise ForeignMessageError
    return body
