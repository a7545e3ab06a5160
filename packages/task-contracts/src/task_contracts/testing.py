"""For tests: valid objects, of which a test gives only the fields that it is about, and texts that make code slow."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from task_contracts._enums import Priority, TaskStatus
from task_contracts._schemas import Task, TaskCreate

A_MOMENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

HOSTILE_TEXTS: tuple[tuple[str, str], ...] = (
    *(("", piece) for piece in " \n\t,;:.@=\"'(\\[1a\x00\x1b\u202eé"),
    *(("", piece) for piece in ("://", "://:", "://a:b", "://a:b@", " ://a:b", "a@", "1.", "+1", "Mon, 01 ")),
    *(("", piece) for piece in ("password=", "password=&", "password=' ", 'pwd=" ', "input_value=", "DETAIL: ")),
    *(("", piece) for piece in (" DETAIL:", "[parameters", "input_value=, input_type=", "; charset=", "\ud800")),
    ("@", "://:"),
    ("://:", "@ "),
    ('text/plain; x="', ";"),
    ("2026-11-01T12:00:00.", "1"),
    ("input_value=", ", input_type"),
)
"""Texts that make code slow which looks at them carelessly: how each begins, and what is repeated after it."""

_CHARS = (1_000, 10_000, 100_000, 1_000_000)
_GROWTH_MAX = 30
"""From one of these lengths to the next, linear work takes some 10 times as long, quadratic work some 100 times."""
_UNNOTICED_SECONDS = 0.1
"""Less than this is not told from noise: quadratic work that stays below it at a million characters harms nobody."""


def a_create(**fields: Any) -> TaskCreate:
    """Return a request for a task named "a task". Any field can be given."""
    return TaskCreate(**{"name": "a task", **fields})


def a_task(**fields: Any) -> Task:
    """Return a task as the API shows it, NEW by default. Any field can be given."""
    defaults: dict[str, Any] = {
        "id": uuid4(),
        "name": "a task",
        "type": "echo",
        "queue": "default",
        "priority": Priority.MEDIUM,
        "status": TaskStatus.NEW,
        "attempt": 0,
        "version": 1,
        "created_at": A_MOMENT,
        "due_at": A_MOMENT,
    }
    return Task(**{**defaults, **fields})


def an_id() -> UUID:
    """Return an id that no task has."""
    return uuid4()


def assert_linear(work: Callable[[str], object]) -> None:
    """Fail if the CPU time of `work` grows faster than any of `HOSTILE_TEXTS`, from 1,000 characters to a million.

    Only the growth counts, so that a slow machine does not fail it. What `work` raises as a ValueError does not matter.
    """
    for beginning, repeated in HOSTILE_TEXTS:
        allowed = _UNNOTICED_SECONDS
        for chars in _CHARS:
            took = _least_seconds(work, (beginning + repeated * (chars // len(repeated)))[:chars], allowed)
            if took > allowed:
                raise AssertionError(f"{chars} characters of {beginning!r}, {repeated!r} ...: {took:.3f} s of CPU")
            allowed = max(_UNNOTICED_SECONDS, _GROWTH_MAX * took)


def _least_seconds(work: Callable[[str], object], text: str, allowed: float) -> float:
    """Return the CPU time of the first of three tries that takes no more than `allowed`, else the least of them.

    Work that takes ten times as long is not tried again.
    """
    tries: list[float] = []
    while len(tries) < 3 and (not tries or allowed < tries[-1] < 10 * allowed):
        began = time.thread_time()
        with contextlib.suppress(ValueError):
            work(text[: len(text) - len(tries)])  # another text: what was seen before may be cached
        tries.append(time.thread_time() - began)
    return min(tries)
