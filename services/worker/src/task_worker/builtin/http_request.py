"""`http.request`: calls a URL, for work that needs no handler of its own. Needs TASK_WORKER_HTTP_HOSTS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Annotated, Literal

import httpx2
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from task_contracts import JsonObject
from task_worker.builtin.http_hosts import HttpHosts
from task_worker.builtin.http_response import check_status, read_result
from task_worker.builtin.pinned_request import open_response
from task_worker.exceptions import Retry
from task_worker.handlers import HandlerError, handler

TIMEOUT_SECONDS_MAX = 300.0
CONNECT_SECONDS = 5.0
_CLOSING_SECONDS = 10.0
_FORBIDDEN_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that say where a request ends and how it travels: whoever sets them can make two requests of one."""


def _check_name(name: str) -> str:
    if name.lower() in _FORBIDDEN_HEADERS:
        raise ValueError("is a header that may not be set")
    return name


def _check_distinct(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("must name each header once, in whatever case")
    return headers


def _check_url(text: str) -> str:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:  # whose text repeats parts of it
        raise ValueError("is not a URL") from None
    if url.scheme not in {"http", "https"} or not url.raw_host:
        raise ValueError("must look like https://api.example.org/path")
    if url.userinfo:
        raise ValueError("must not hold a user or password: send an Authorization header")
    return text


HeaderName = Annotated[
    str, Field(max_length=100, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), AfterValidator(_check_name)
]
HeaderValue = Annotated[str, Field(max_length=8_000, pattern=r"^([!-~]([ -~\t]*[!-~])?)?$")]


class HttpRequest(BaseModel):
    """What to send, and where to."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    url: Annotated[
        str,
        Field(max_length=8_000, json_schema_extra={"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"}),
        AfterValidator(_check_url),
    ] = Field(description="An http or https URL of a host that the worker may call, without user and password.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "GET"
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=50), AfterValidator(_check_distinct)] = Field(
        default_factory=dict, description="Headers to send, but for those that say how the request travels."
    )
    body: JsonValue = Field(None, alias="json", description="A JSON body to send; none if left out.")
    timeout_seconds: float = Field(
        30.0, ge=0.1, le=TIMEOUT_SECONDS_MAX, description="How long all of it may take, the reading of the answer too."
    )


def http_request(
    hosts: HttpHosts, *, connect_seconds: float = CONNECT_SECONDS
) -> Callable[[HttpRequest], Awaitable[JsonObject]]:
    """Return the handler of `http.request` for these hosts; one address may take `connect_seconds` to answer.

    Servers prove who they are by a certificate that this machine trusts, or one of SSL_CERT_FILE or SSL_CERT_DIR.

    Raises:
        HandlerError: no certificates can be read there.

    """
    try:
        tls = httpx2.create_ssl_context()
    except OSError as error:
        raise HandlerError(f"http.request: what SSL_CERT_FILE or SSL_CERT_DIR names is unusable: {error}") from error
    agent = f"task-worker/{version('task-worker')}"

    @handler("http.request", timeout_seconds=TIMEOUT_SECONDS_MAX + _CLOSING_SECONDS)
    async def run(payload: HttpRequest) -> JsonObject:
        """Send the request and return `status`, `headers`, `body` and `is_truncated` of a 2xx or 3xx.

        An attempt may be repeated, and then the request is sent again, though the last one may have been served: where
        that must not count twice, give a header that the server knows a repeat by (an Idempotency-Key of the caller's
        own: every attempt sends the same payload).

        Raises:
            Retry: there was no answer (`no_answer`), or a 408, 429 or 5xx (`http_503`).
            Fail: the host may not be called (`host_not_allowed`), or answered another 4xx (`http_404`).

        """
        request = _request(payload, agent)
        # The path and the query may hold secrets.
        call = f"{payload.method} {request.url.scheme}://{request.url.netloc.decode()}"
        try:
            async with (
                asyncio.timeout(payload.timeout_seconds),
                open_response(request, hosts, tls, connect_seconds=connect_seconds) as response,
            ):
                check_status(response.status_code, response.headers.get("retry-after"), call)
                return await read_result(response)
        except (OSError, httpx2.RequestError) as error:
            # Without its cause: libraries repeat what was sent and received.
            raise Retry(
                f"{call}: {_reason(error, payload.timeout_seconds, connect_seconds)}", code="no_answer"
            ) from None

    return run


def _request(payload: HttpRequest, agent: str) -> httpx2.Request:
    headers = httpx2.Headers({"Accept": "*/*", "User-Agent": agent})
    content = orjson.dumps(payload.body) if "body" in payload.model_fields_set else None
    if content is not None:
        headers["Content-Type"] = "application/json"
    headers.update(payload.headers)
    headers.update({"Accept-Encoding": "identity", "Connection": "close"})
    return httpx2.Request(payload.method, payload.url, headers=headers, content=content)


def _reason(error: Exception, timeout_seconds: float, connect_seconds: float) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {timeout_seconds:g} s"
        case socket.gaierror():
            return "its name could not be resolved"
        case httpx2.ConnectTimeout():
            return f"no connection within {connect_seconds:g} s"
        case httpx2.ConnectError():
            return f"cannot connect: {error}"
        case _:
            return f"the answer broke off ({type(error).__name__})"
