"""The options of both clients for httpx2, and the arguments of a request."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import httpx2

from task_client._call import Call
from task_client._keys import KeySource, auth_of
from task_client._steps import SILENT_SECONDS, Send
from task_contracts import PROBLEM_MEDIA_TYPE

DEFAULT_TIMEOUT_SECONDS = 10.0


def client_options(
    base_url: str,
    timeout_seconds: float,
    headers: Mapping[str, str] | None = None,
    api_key: KeySource | None = None,
) -> dict[str, Any]:
    """Return the options of an httpx2 client; `headers` are sent with each request, and so is the key.

    Nothing is read from the environment: a proxy, or a CA of your own, is passed in a transport.

    Raises:
        ValueError: `base_url` does not begin with http:// or https://, or names no host; or see `auth_of`.

    """
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"not a URL: {base_url!r}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"a base URL looks like http://127.0.0.1:9000, not {base_url!r}")
    return {
        "base_url": url,
        "auth": auth_of(api_key, url, headers),
        "timeout": timeout_seconds,
        "headers": {
            "User-Agent": f"task-client/{version('task-client')}",
            "Accept": f"application/json, {PROBLEM_MEDIA_TYPE}",
            **(headers or {}),
        },
        "follow_redirects": False,
        # An answer that is held back, or a stream, keeps its connection: nobody else may have to wait for one.
        "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=100),
        "trust_env": False,
        # Without TLS there is nothing to verify, and no need to load the certificates (tens of milliseconds).
        "verify": _tls() if url.scheme == "https" else False,
    }


def request_options(send: Send, timeout_seconds: float) -> dict[str, Any]:
    """Return the arguments of `request` for a step; `timeout_seconds` is the client's own timeout."""
    timeout = min(timeout_seconds, send.timeout_seconds)
    return _options(send.call, httpx2.Timeout(timeout, read=timeout + send.call.held_seconds))


def stream_options(call: Call, timeout_seconds: float) -> dict[str, Any]:
    """Return the arguments of `stream` for a call whose answer is a stream of events."""
    return _options(call, httpx2.Timeout(timeout_seconds, read=SILENT_SECONDS))


def events_in(response: httpx2.Response, content: Any) -> httpx2.EventSource:
    """Return the reader of the events in `content`, the bytes of a response as they come."""
    headers = {"content-type": response.headers.get("content-type", "")}
    return httpx2.EventSource(httpx2.Response(200, headers=headers, content=content, request=response.request))


def is_event_stream(response: httpx2.Response) -> bool:
    """Whether a response is a stream of events."""
    media_type: str = response.headers.get("content-type", "")
    return response.is_success and media_type.partition(";")[0].strip().lower() == "text/event-stream"


def _options(call: Call, timeout: httpx2.Timeout) -> dict[str, Any]:
    options: dict[str, Any] = {"method": call.method, "url": call.path, "timeout": timeout, "headers": {**call.headers}}
    if call.params:
        options["params"] = call.params
    if call.content is not None:
        options["content"] = call.content
        options["headers"]["Content-Type"] = "application/json"
    return options


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the TLS context of this process. It is made once: it loads every certificate that this machine trusts."""
    return httpx2.create_ssl_context(trust_env=False)
