"""Generators and filters of schemathesis for what JSON Schema cannot say. Its process loads this module."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

import schemathesis
from hypothesis import strategies as st

from task_api.bulk_cursors import PATTERN
from task_contracts import UnstorableJsonError, check_json, limits

_KEY = re.compile(rf"[!-~]{{1,{limits.IDEMPOTENCY_KEY_CHARS}}}")
_EARLIEST = datetime(2000, 1, 2)  # hypothesis wants it without a zone
_LATEST = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=364)

# `run_at` may lie at most a year ahead.
schemathesis.openapi.format("date-time", st.datetimes(_EARLIEST, _LATEST).map(lambda moment: f"{moment.isoformat()}Z"))


@schemathesis.hook
def filter_body(context: schemathesis.HookContext, body: Any) -> bool:
    """Leave out bodies that are wrong in a way that a schema cannot say; `test_bad_input` has each of these."""
    del context
    tasks = body.get("tasks", [body]) if isinstance(body, dict) else []
    return not any(
        _has_whole_float(task) or _has_unstorable_payload(task) or _has_blank_name(task)
        for task in (tasks if isinstance(tasks, list) else [])
        if isinstance(task, dict)
    )


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Make each key a new one, and take away a cursor that looks like one.

    A key would be refused with another body than that of its first request. A cursor has a checksum, and is good for
    one filter alone. An API key that has expired, or a pause that is over, before it is there is refused too, so that
    such a time is put off.
    """
    del context, kwargs
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and _KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = token_hex()
    if isinstance(case.body, dict) and re.fullmatch(PATTERN, str(case.body.get("cursor"))):
        del case.body["cursor"]
    for name in ("expires_at", "until"):
        if isinstance(case.body, dict) and _is_over(case.body.get(name)):
            case.body[name] = f"{_LATEST.isoformat()}Z"


def _has_whole_float(body: dict[str, Any]) -> bool:
    # 10.0 is an integer to JSON Schema, and none to a strict model.
    return any(isinstance(body.get(name), float) for name in ("max_attempts", "limit"))


def _has_unstorable_payload(body: dict[str, Any]) -> bool:
    # Depth, number of values, and whole numbers of 64 bits beside floats of any size.
    try:
        check_json(body.get("payload"))
    except UnstorableJsonError:
        return True
    return False


def _has_blank_name(body: dict[str, Any]) -> bool:
    # White space is more to Python (U+001C) than to a pattern.
    return isinstance(body.get("name"), str) and not body["name"].strip()


def _is_over(moment: object) -> bool:
    try:
        return datetime.fromisoformat(str(moment)) < datetime.now(UTC) + timedelta(hours=1)
    except (TypeError, ValueError):
        return False
