"""Turns the answer to an `http.request` into a result, a `Retry` or a `Fail`. Reads no more of it than is kept.

**Invariants**

- A result can always be stored. It is cut so that it stays under `limits.RESULT_BYTES` however its characters are
  escaped (at most six bytes for each byte of the body), and holds only values that JSON may have.
- An error contains nothing that either side sent.
"""

from __future__ import annotations

import codecs
from contextlib import aclosing, suppress
from email.message import Message
from http import HTTPStatus
from typing import Any

import httpx2
from pydantic import TypeAdapter

from task_contracts import JsonObject, check_json, limits, retry_after_seconds, storable_text
from task_worker.exceptions import Fail, Retry

BODY_BYTES = 128 << 10
"""How many bytes of a decoded body are kept."""
HEADERS_CHARS = 16 << 10
"""How many characters of the headers are kept, names and values together."""
CONTENT_TYPE_CHARS = 1_000
"""How many characters of a Content-Type are looked at: Python takes quadratic time to find the charset."""
RETRY_AFTER_SECONDS_MIN = 1.0
RETRY_AFTER_SECONDS_MAX = 3600.0

_RETRYABLE_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "utf-16"})
"""The charsets in which a text is read. Python has many more codecs; some are no charsets, some need quadratic time."""
_JSON: TypeAdapter[Any] = TypeAdapter(Any)


def check_status(status: int, retry_after: str | None, call: str) -> None:
    """Raise Fail or Retry for an unsuccessful status; `call` names the call in the error.

    Args:
        status: 100 or more; anything below 400 is a result.
        retry_after: the header Retry-After, if there is one.
        call: the method and the host.

    Raises:
        Retry: 408, 429, or 500 and above; after the time in `retry_after`, but at least 1 s and at most an hour.
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

    `body` is JSON if the answer says that it is JSON and it was read whole. Otherwise it is text; what cannot be read
    or kept becomes U+FFFD. `is_truncated` says that the body or the headers had more than is kept. Of a body that is
    compressed more than once nothing is kept.

    Raises:
        httpx2.RequestError: the answer broke off, or its encoding is not the one that it names.

    """
    content, is_body_cut = await _read_start(response)
    headers, are_headers_cut = _kept_headers(response.headers)
    result: JsonObject = {
        "status": response.status_code,
        "headers": headers,
        "body": _text(content, charset_of(response.headers), is_cut=is_body_cut),
        "is_truncated": is_body_cut or are_headers_cut,
    }
    if is_json(response.headers) and not is_body_cut:
        with suppress(ValueError):  # not JSON after all, or JSON that cannot be stored: it stays text
            whole = {**result, "body": _JSON.validate_json(content)}
            check_json(whole)
            return whole
    return result


def charset_of(headers: httpx2.Headers) -> str:
    """Return the charset in which a text is read: the one that Content-Type names, if it is one of ours, else UTF-8."""
    declared = Message()
    declared["content-type"] = headers.get("content-type", "")[:CONTENT_TYPE_CHARS]
    charset = declared.get_content_charset("")
    return charset if charset in _CHARSETS else "utf-8"


def is_json(headers: httpx2.Headers) -> bool:
    """Return whether Content-Type says that the body is JSON."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


async def _read_start(response: httpx2.Response) -> tuple[bytes, bool]:
    if len(response.headers.get_list("content-encoding", split_commas=True)) > 1:
        # We asked for none. A few bytes in several layers could unpack to so much that the event loop hangs past every
        # deadline.
        return b"", True
    kept = bytearray()
    # httpx2 decodes at most 1 MiB at a time, so a small answer that unpacks to a huge one is not read further.
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


def _text(content: bytes, charset: str, *, is_cut: bool) -> str:
    text = codecs.getincrementaldecoder(charset)("replace").decode(content, final=not is_cut)
    return storable_text(text, BODY_BYTES)


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, RETRY_AFTER_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
