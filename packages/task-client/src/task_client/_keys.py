"""Sends the caller's key with each request (`Authorization: Bearer`), and shows it nowhere."""

from __future__ import annotations

import functools
import ipaddress
import logging
from collections.abc import Callable, Generator, Mapping
from typing import TypeAlias

import httpx2

from task_contracts import KeyText

KeySource: TypeAlias = str | Callable[[], str]
"""A key, or what returns it. That is asked before each request, so a key can be replaced while a client lives."""

_log = logging.getLogger("task_client")
_HEADER = "Authorization"
_NAMES_OF_THIS_MACHINE = ("localhost", "test")
"""Of RFC 6761: `localhost`, and `test`, which leads nowhere but to a transport of a test."""


class KeyAuth(httpx2.Auth):
    """Puts the key into each request. httpx2 shows this header as `[secure]`.

    Args:
        source: the key, or what returns it. White space around a key is dropped, as of a file's last line.

    Raises:
        ValueError: the key is none, or was mistyped. The message does not repeat it.

    """

    def __init__(self, source: KeySource) -> None:
        if isinstance(source, str):
            key = parsed(source)  # its repr has no secret
            self._key: Callable[[], KeyText] = lambda: key
        else:
            self._key = lambda: parsed(source())

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the request with the key.

        Raises:
            ValueError: what the callable returned is no key.

        """
        request.headers[_HEADER] = f"Bearer {self._key()}"
        yield request

    def __repr__(self) -> str:
        return "KeyAuth(…)"


def parsed(text: str) -> KeyText:
    """Return a key.

    Raises:
        ValueError: it is none, or was mistyped. The message does not repeat it.

    """
    try:
        return KeyText.parse(text.strip())
    except ValueError as error:
        raise ValueError(f"the API key is not sent, since it cannot be right: {error}") from None


def auth_of(source: KeySource | None, url: httpx2.URL, headers: Mapping[str, str] | None) -> KeyAuth | None:
    """Return what puts the key into requests to `url`; None without a key.

    Once in a process and for each host, a warning says that the key can be read on its way.

    Raises:
        ValueError: the key is none or was mistyped; or something else is to be sent in its place, a password in the URL
            or an `Authorization` of `headers`.

    """
    if source is None:
        return None
    if url.userinfo or _HEADER.lower() in {name.lower() for name in headers or {}}:
        raise ValueError("give an API key, or a password in the URL, or an Authorization header: one can be sent")
    if url.scheme == "http" and not _stays_inside(url.host):
        _warn_of_plain_http(url.host)
    return KeyAuth(source)


def _stays_inside(host: str) -> bool:
    """Return whether a host is this machine, or has a name without a dot, as the containers of one network have."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host or host.rpartition(".")[2] in _NAMES_OF_THIS_MACHINE


@functools.cache
def _warn_of_plain_http(host: str) -> None:
    _log.warning("the API key goes to %s without TLS: whoever is on the way can read it; use https://", host)
