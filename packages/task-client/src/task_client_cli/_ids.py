"""Ids as people type them: whole, or as much of them as is unique."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any
from uuid import UUID

from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._session import Session

PREFIX_CHARS_MIN = 8
_HEX = re.compile(r"[0-9a-f]+")
_DASHES_AFTER = (8, 12, 16, 20)
_ID_DIGITS = 32


def ids_of(session: Session, texts: Iterable[str]) -> list[UUID]:
    """Return the ids that somebody typed; each prefix costs a request."""
    return [id_of(session, text) for text in texts]


def id_of(session: Session, text: str) -> UUID:
    """Return the id that somebody typed, or the one that begins with what was typed.

    Raises:
        CommandError: it is no id and no prefix of one, or of none, or of several.

    """
    digits = text.strip().lower().replace("-", "")
    if not _HEX.fullmatch(digits) or not PREFIX_CHARS_MIN <= len(digits) <= _ID_DIGITS:
        said = f"{text!r} is no id: an id, or at least its first {PREFIX_CHARS_MIN} characters"
        raise CommandError(ExitCode.USAGE, said)
    if len(digits) == _ID_DIGITS:
        return UUID(digits)
    by_prefix: dict[str, Any] = {"id_prefix": dashed(digits), "limit": 2}
    found: list[UUID] = [task.id for task in islice(session.client.list(**by_prefix), 2)]
    if not found:
        raise CommandError(ExitCode.REFUSED, f"no task has an id that begins with {text}")
    if len(found) > 1:
        raise CommandError(ExitCode.USAGE, f"several tasks have ids that begin with {text}: type more of it")
    return found[0]


def worker_of(session: Session, text: str) -> UUID:
    """Return the id of the worker that somebody typed: its id, or of a live one HOST:PID or the beginning of its id.

    Raises:
        CommandError: no live worker is that, or several are.

    """
    try:
        return UUID(text)
    except ValueError:
        pass
    workers = session.client.workers()
    found = [one.id for one in workers if text == f"{one.host}:{one.pid}" or str(one.id).startswith(text.lower())]
    if not found:
        raise CommandError(ExitCode.REFUSED, f"no live worker is {text}: task-client workers lists them")
    if len(found) > 1:
        raise CommandError(ExitCode.USAGE, f"several workers are {text}: type more of an id")
    return found[0]


def dashed(digits: str) -> str:
    """Return the first digits of an id with its dashes."""
    places = [0, *_DASHES_AFTER, _ID_DIGITS]
    parts = [digits[start:end] for start, end in pairwise(places)]
    return "-".join(part for part in parts if part)
