"""`http.request`: calls a URL, for work that needs no handler of its own. Needs TASK_WORKER_HTTP_HOSTS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version

import httpx2
import orjson

from task_contracts import JsonValue
from task_worker.builtin.http_hosts import HttpHosts
from task_worker.builtin.http_payload import TIMEOUT_SECONDS_MAX, HttpRequest
from task_worker.builtin.http_response import check_status, read_result
from task_worker.builtin.pinned_request import open_response
from task_worker.exceptions import Retry
from task_worker.handlers import HandlerError, handler

CONNECT_SECONDS = 5.0
_CLOSING_SECONDS = 10.0
_USER_AGENT = f"task-worker/{version('task-worker')}"


def http_request(
    hosts: HttpHosts, *, connect_seconds: float = CONNECT_SECONDS
) -> Callable[[HttpRequest], Awaitable[dict[str, JsonValue]]]:
    """Return the handler of `http.request` for these hosts; one address may take `connect_seconds` to connect.

    A server's certificate must be one that this machine trusts, or that SSL_CERT_FILE or SSL_CERT_DIR names.

    Raises:
        HandlerError: no certificates can be read there.

    """
    caller = _Caller(hosts, _tls(), connect_seconds)

    @handler("http.request", timeout_seconds=TIMEOUT_SECONDS_MAX + _CLOSING_SECONDS)
    async def run(payload: HttpRequest) -> dict[str, JsonValue]:
        """Send the request and return `status`, `headers`, `body` and `is_truncated` of a 2xx or 3xx.

        An attempt that is repeated sends the request again, even if the server has already served it. Where that must
        not count twice, give a header by which the server knows a repeat (an Idempotency-Key of the caller's own: every
        attempt sends the same payload).

        Raises:
            Retry: there was no answer (`no_answer`), or a 408, 429 or 5xx (`http_503`).
            Fail: the host may not be called (`host_not_allowed`), or answered another 4xx (`http_404`).

        """
        return await caller.call(payload)

    return run


def _tls() -> ssl.SSLContext:
    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise HandlerError(f"http.request: what SSL_CERT_FILE or SSL_CERT_DIR names is unusable: {error}") from error


@dataclass(frozen=True)
class _Caller:
    hosts: HttpHosts
    tls: ssl.SSLContext
    connect_seconds: float

    async def call(self, payload: HttpRequest) -> dict[str, JsonValue]:
        request = _request(payload)
        # For errors: without the path and the query, which may hold secrets.
        call = f"{payload.method} {request.url.scheme}://{request.url.netloc.decode()}"
        try:
            async with (
                asyncio.timeout(payload.timeout_seconds),
                open_response(request, self.hosts, self.tls, connect_seconds=self.connect_seconds) as response,
            ):
                check_status(response.status_code, response.headers.get("retry-after"), call)
                return await read_result(response)
        except (OSError, httpx2.RequestError) as error:
            reason = self._reason(error, payload.timeout_seconds)
            # Without its cause, whose text may repeat what was sent and received.
            raise Retry(f"{call}: {reason}", code="no_answer") from None

    def _reason(self, error: Exception, timeout_seconds: float) -> str:
        match error:
            case TimeoutError():
                return f"no answer within {timeout_seconds:g} s"
            case socket.gaierror():
                return "its name could not be resolved"
            case httpx2.ConnectTimeout():
                return f"no connection within {self.connect_seconds:g} s"
            case httpx2.ConnectError():
                return f"cannot connect: {error}"
            case _:
                return f"the answer broke off ({type(error).__name__})"


def _request(payload: HttpRequest) -> httpx2.Request:
    headers = httpx2.Headers({"Accept": "*/*", "User-Agent": _USER_AGENT})
    content = orjson.dumps(payload.body) if "body" in payload.model_fields_set else None
    if content is not None:
        headers["Content-Type"] = "application/json"
    headers.update(payload.headers)
    headers.update({"Accept-Encoding": "identity", "Connection": "close"})
    return httpx2.Request(payload.method, payload.url, headers=headers, content=content)
