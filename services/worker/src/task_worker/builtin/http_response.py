"""What comes of an answer to `http.request`: a result, a `Retry` or a `Fail`. Reads no more of it than is kept.

**Invariants**

- A result can always be stored: cut as it is below, it stays under `limits.RESULT_BYTES` however its characters are
  escaped (at most six bytes for each of the body's), and within the values that JSON may have.
- Nothing that either side sent stands in an error.
"""

from __future__ import annotations

import codecs
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

import httpx2
from pydantic import TypeAdapter

from task_contracts import JsonObject, check_json, limits, retry_after_seconds, storable_text
from task_worker.exceptions import Fail, Retry

BODY_BYTES = 128 << 10
"""How much of a body is kept, once it is decoded."""
HEADERS_CHARS = 16 << 10
"""How much of the headers is kept, names and values together."""
RETRY_AFTER_SECONDS_MIN = 1.0
RETRY_AFTER_SECONDS_MAX = 3600.0

_RETRYABLE_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16"})
"""What a text may be read as. Python knows far more, some of which are no charsets, or slow on purpose."""
_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def check_status(status: int, retry_after: str | None, call: str) -> None:
    """Raise what a status means where it is not a result. `call` says in an error what was called.

    Raises:
        Retry: 408, 429, 5xx or beyond; after as long as `retry_after`, the header, says, from 1 s to an hour.
        Fail: any other 4xx.

    """
    if status < HTTPStatus.BAD_REQUEST:
        return
    message, code = f"{call} answered {_status_text(status)}", f"http_{status}"
    if status in _RETRYABLE_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Retry(message, after_seconds=_bounded(retry_after_seconds(retry_after or "")), code=code)
    raise Fail(message, code=code)


async def read_result(response: httpx2.Response) -> JsonObject:
    """Return the result: `status`, `headers` (names in lower case), `body` and `is_truncated`.

    The body is the JSON that it is, if it says so and is whole; a text otherwise, in which U+FFFD stands for what
    cannot be read or kept. `is_truncated`: there was more of the body, or of the headers; of a body that is packed more
    than once, all.

    Raises:
        httpx2.RequestError: the answer broke off, or is not encoded as it says.

    """
    content, is_body_cut = await _read_start(response)
    headers, are_headers_cut = _kept_headers(response.headers)
    result: JsonObject = {
        "status": response.status_code,
        "headers": headers,
        "body": _text(content, response.charset_encoding, is_cut=is_body_cut),
        "is_truncated": is_body_cut or are_headers_cut,
    }
    if _is_json(response.headers) and not is_body_cut:
        with suppress(ValueError):  # not JSON after all, or none that can be kept: then it stays a text
            whole = {**result, "body": _JSON.validate_json(content)}
            check_json(whole)
            return whole
    return result


async def _read_start(response: httpx2.Response) -> tuple[bytes, bool]:
    if len(response.headers.get_list("content-encoding", split_commas=True)) > 1:
        # Asked for was none. Of several, the inner ones unpack what the outer ones made of a few bytes, between two
        # looks at the clock.
        return b"", True
    kept = bytearray()
    # httpx2 decodes at most 1 MiB at a time: a small answer that unpacks to a huge one is left after that.
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            kept += chunk
            if len(kept) > BODY_BYTES:
                break
    return bytes(kept[:BODY_BYTES]), len(kept) > BODY_BYTES


def _kept_headers(headers: httpx2.Headers) -> tuple[JsonObject, bool]:
    kept: JsonObject = {}
    left = HEADERS_CHARS
    for name, value in headers.items():
        left -= len(name) + len(value)
        if left < 0 or len(name) > limits.JSON_KEY_CHARS:
            return kept, True
        kept[storable_text(name, limits.JSON_KEY_CHARS)] = storable_text(value, HEADERS_CHARS)
    return kept, False


def _text(content: bytes, charset: str | None, *, is_cut: bool) -> str:
    name = charset.lower() if charset and charset.lower() in _CHARSETS else "utf-8"
    text = codecs.getincrementaldecoder(name)("replace").decode(content, final=not is_cut)
    return storable_text(text, BODY_BYTES)


def _is_json(headers: httpx2.Headers) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, RETRY_AFTER_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
