"""Reads the header `Prefer` (RFC 7240): how long a caller is ready to wait for a task to end."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.request import parse_http_list

from fastapi import Header
from pydantic import WithJsonSchema

from task_contracts import limits

_SECONDS = re.compile(r'[0-9]+|"[0-9]+"', re.ASCII)

Prefer = Annotated[
    list[str] | None,
    WithJsonSchema({"type": "string"}),  # the header may be sent more than once, and is one list then
    Header(
        description="`wait=N`: answer when the task has ended, or after N seconds (at most"
        f" {limits.WAIT_SECONDS_MAX}; more is taken as that) with the task as it is then. Anything else is ignored.",
        examples=["wait=30"],
    ),
]


def wait_seconds(prefer: list[str] | None) -> int | None:
    """Return the seconds of the first `wait` that the headers name, at most `limits.WAIT_SECONDS_MAX`.

    None where there is none, and where its value is no number: a preference that is not understood is ignored
    (section 2).
    """
    for preference in parse_http_list(",".join(prefer or ())):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            value = value.strip()
            return _at_most(value.strip('"')) if _SECONDS.fullmatch(value) else None
    return None


def applied(seconds: int | None) -> dict[str, str]:
    """Return the headers that say which preference was heeded (section 3)."""
    return {} if seconds is None else {"Preference-Applied": f"wait={seconds}"}


def _at_most(digits: str) -> int:
    significant = digits.lstrip("0")[:9]  # enough to be more than may be waited, and no text that takes long to read
    return min(int(significant or 0), limits.WAIT_SECONDS_MAX)
