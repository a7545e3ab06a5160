"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07), and the hash of a request."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Annotated, Any

from fastapi import Header
from starlette.requests import Request

from task_api.access.callers import caller_of
from task_api.problems import invalid
from task_contracts import FieldProblem, IdempotencyKey
from task_store import RequestKey

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency-Replayed": "true"}
"""On the answer to a repeat."""

IdempotencyKeyHeader = Annotated[
    IdempotencyKey | None,
    Header(
        alias=HEADER,
        description=(
            "Makes a repeat safe: a request with the key and the body of an earlier one creates nothing and gets what"
            " that one created. 1 to 255 visible ASCII characters, taken as they are; make a new one, such as a random"
            " UUID, for each request. Kept as long as the task, and for a day at least."
        ),
        examples=["6c5f1c39-5d0e-4a1b-9a52-0f5b4f0f6a11"],
    ),
]


def keyed(request: Request, key: str, sent: Any) -> RequestKey:
    """Return the key of a request as the store takes it, with the hash of what was sent: JSON that was found valid.

    The SHA-256 of the JSON, in which the order of keys and white space count nothing. No defaults are added to it: a
    new default of a later version must not make another request of a repeat. It is a key of its owner: two owners may
    use the same one for different requests.

    Raises:
        ProblemError: the request has more than one key.

    """
    if len(request.headers.getlist(HEADER)) > 1:
        raise invalid([FieldProblem(field=f"header.{HEADER}", message="is given more than once")])
    canonical = json.dumps(sent, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return RequestKey(key, sha256(canonical.encode()).digest(), caller_of(request.scope).owner)
