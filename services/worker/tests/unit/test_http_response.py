from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import orjson
import pytest

from task_contracts import limits
from task_contracts.testing import assert_linear
from task_worker import Fail, Retry
from task_worker.attempt.result import result_text
from task_worker.builtin.http_response import BODY_BYTES, HEADERS_CHARS, charset_of, check_status, is_json, read_result

CALL = "GET https://api.example.org"


async def result_of(content: bytes, content_type: str = "text/plain", **headers: str) -> dict[str, Any]:
    """Return the result as it is stored."""
    response = httpx2.Response(200, headers={"Content-Type": content_type, **headers}, content=content)
    kept: dict[str, Any] = orjson.loads(result_text(await read_result(response)) or "")
    return kept


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299, 301, 302, 304, 307, 308, 399])
def test_what_is_below_400_is_a_result(status: int) -> None:
    check_status(status, None, CALL)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451, 499])
def test_other_4xx_fail_with_a_code_and_a_message_that_name_the_status(status: int) -> None:
    with pytest.raises(Fail, match=f"^{CALL} answered {status}") as caught:
        check_status(status, "5", CALL)

    assert caught.value.code == f"http_{status}"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529, 999])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with pytest.raises(Retry, match=f"^{CALL} answered {status}") as caught:
        check_status(status, None, CALL)

    assert (caught.value.code, caught.value.after_seconds) == (f"http_{status}", None)


def after(header: str) -> float | None:
    with pytest.raises(Retry) as caught:
        check_status(503, header, CALL)
    return caught.value.after_seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("0", 1),
        ("3600", 3600),
        ("86400", 3600),
        ("9" * 5_000, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 21 Oct 9998 07:28:00 GMT", 3600),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 1),
        ("Sun Nov  6 08:49:37 1994", 1),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
    ],
)
def test_retry_after_is_honoured_within_a_second_and_an_hour(header: str, seconds: float | None) -> None:
    assert after(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert after(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)) == pytest.approx(90, abs=5)


@pytest.mark.parametrize(
    ("content_type", "content", "body"),
    [
        ("application/json", b'{"a": [1, 2.5, null, "\xc3\xa9"]}', {"a": [1, 2.5, None, "é"]}),
        ("application/problem+json; charset=utf-8", b'{"a": 1}', {"a": 1}),
        ("APPLICATION/JSON", b"[]", []),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("application/json", b"", ""),
        ("application/json", b"{no", "{no"),
        # JSON that cannot be stored stays text.
        ("application/json", b'{"a": "\\u0000"}', '{"a": "\\u0000"}'),
        ("application/json", b'"\\ud800"', '"\\ud800"'),
        ("application/json", b"[NaN]", "[NaN]"),
        ("application/json", b"1e999", "1e999"),
        ("application/json", b"9223372036854775808", "9223372036854775808"),
        ("application/json", b"9" * 5_000, "9" * 5_000),
        ("application/json", b"[" * 65 + b"]" * 65, "[" * 65 + "]" * 65),
        ("application/json", b"[" * 60_000, "[" * 60_000),
        ("application/json", b"[" + b"0," * 20_000 + b"0]", "[" + "0," * 20_000 + "0]"),
        ("application/json", b'{"' + b"k" * 257 + b'": 1}', '{"' + "k" * 257 + '": 1}'),
        ("text/html; charset=iso-8859-1", b"\xe9", "é"),
        ("text/html; charset=Windows-1252", b"\x80", "€"),
        ("text/html; charset=utf-16", "é".encode("utf-16"), "é"),
        ("text/html", b"\xe9\xff", "\ufffd\ufffd"),
        ("application/octet-stream", b"\x00\x01\xff", "\ufffd\x01\ufffd"),
        # Codecs of Python that are no charsets, or take quadratic time.
        ("text/html; charset=zip", b"plain", "plain"),
        ("text/html; charset=idna", b"plain", "plain"),
        ("text/html; charset=unicode_escape", b"\\ud800", "\\ud800"),
        ("text/html; charset=nonsense", b"plain", "plain"),
    ],
)
async def test_a_body_is_its_json_or_else_a_text(content_type: str, content: bytes, body: Any) -> None:
    result = await result_of(content, content_type)

    assert result["body"] == body
    assert result["is_truncated"] is False


async def test_a_result_holds_status_headers_and_body() -> None:
    response = httpx2.Response(
        207,
        headers=[(b"Content-Type", b"text/plain"), (b"X-A", b"1"), (b"x-a", b"2"), (b"X-Odd", b"caf\xe9")],
        content=b"x",
    )

    result = await read_result(response)

    assert result["status"] == 207
    assert result["body"] == "x"
    assert result["headers"]["x-a"] == "1, 2"  # type: ignore[index, call-overload] # a dict
    assert result["headers"]["x-odd"] == "café"  # type: ignore[index, call-overload] # as above


@pytest.mark.parametrize(
    "content",
    [
        b"a" * (BODY_BYTES + 1),
        b"\x01" * (1 << 20),  # six bytes each in JSON
        b'"' * (1 << 20),
        b"\xff" * (1 << 20),
        "é".encode() * (1 << 20),
    ],
)
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "text/plain; charset=windows-1252"])
async def test_a_body_is_cut_so_that_any_can_be_kept(content: bytes, content_type: str) -> None:
    headers = {f"h{number}": '"' * 1_000 for number in range(20)}

    result = await result_of(content, content_type, **headers)

    assert result["is_truncated"] is True
    assert 0 < len(result["body"]) <= BODY_BYTES
    assert len(result_text(result) or "") < limits.RESULT_BYTES


async def test_a_body_of_just_the_limit_is_whole() -> None:
    result = await result_of(b"a" * BODY_BYTES)

    assert (len(result["body"]), result["is_truncated"]) == (BODY_BYTES, False)


async def test_a_cut_does_not_break_a_character() -> None:
    result = await result_of(b"a" + "é".encode() * BODY_BYTES)

    assert result["body"] == "a" + "é" * (BODY_BYTES // 2 - 1)


@pytest.mark.parametrize(
    "headers", [{"X-Long": "v" * HEADERS_CHARS}, {"n" * 257: "v"}, {f"h{number}": "" for number in range(30_000)}]
)
async def test_headers_beyond_the_limit_are_left_out_and_that_is_said(headers: dict[str, str]) -> None:
    result = await result_of(b"x", "application/json", **headers)

    assert result["is_truncated"] is True
    assert result["headers"]["content-type"] == "application/json"
    assert sum(len(name) + len(value) for name, value in result["headers"].items()) <= HEADERS_CHARS


async def test_json_counts_with_its_headers_against_what_can_be_kept() -> None:
    content = orjson.dumps(list(range(limits.JSON_NODES - 10)))

    result = await result_of(content, "application/json", **{f"h{number}": "" for number in range(20)})

    assert result["body"] == content.decode()


async def test_a_long_content_type_is_read_by_its_beginning() -> None:
    read = await result_of(b"\xe9", "text/plain; charset=iso-8859-1; x=" + ";" * 60_000)

    assert read["body"] == "é"


def test_no_header_takes_more_than_linear_time() -> None:
    def read(value: str) -> None:
        headers = httpx2.Headers({"content-type": value.encode(errors="replace")})
        is_json(headers)
        charset_of(headers)
        with suppress(Retry):
            check_status(503, value, CALL)

    assert_linear(read)
