"""The payload of `http.request`: which request to send. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import httpx2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

TIMEOUT_SECONDS_MAX = 300.0
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
"""Headers that say where a request ends and how it travels. A caller who sets them could make two requests of one."""


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
    except httpx2.InvalidURL:  # its text repeats parts of the URL, so it is not passed on
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
    """The request to send. Errors of validation repeat no part of the URL."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    url: Annotated[
        str,
        Field(max_length=8_000, json_schema_extra={"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"}),
        AfterValidator(_check_url),
    ] = Field(description="An http or https URL of a host that the worker may call, without user and password.")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "GET"
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=50), AfterValidator(_check_distinct)] = Field(
        default_factory=dict, description="Headers to send, except those that say how the request travels."
    )
    body: JsonValue = Field(None, alias="json", description="A JSON body to send; no body if left out.")
    timeout_seconds: float = Field(
        30.0, ge=0.1, le=TIMEOUT_SECONDS_MAX, description="Limit for the whole call, reading the answer included."
    )
