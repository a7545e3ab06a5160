"""Sends a request to an address that was checked: the name is not resolved again before the connection.

Without that, a name could lead to a public address when it is checked and to an internal one when it is connected to
("DNS rebinding"). TLS and the Host header still use the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any

import httpx2

from task_runtime import get_logger
from task_worker.builtin.addresses import Address
from task_worker.builtin.http_hosts import Host, HttpHosts, host_of
from task_worker.exceptions import Fail
from task_worker.threads import DaemonThreads

_PORTS = {"http": 80, "https": 443}
_RESOLVERS = DaemonThreads("resolver", 16)
"""The threads for looking up names. A lookup cannot be cancelled, so a name server that does not answer keeps a thread
busy. It must not be one of the event loop's, of which there are only a few for all connections of the process. The
process ends without waiting for these."""
_log = get_logger(__name__)


@asynccontextmanager
async def open_response(
    request: httpx2.Request, hosts: HttpHosts, tls: ssl.SSLContext, *, connect_seconds: float
) -> AsyncIterator[httpx2.Response]:
    """Send a request over a new connection and yield its response, whose body has not been read yet.

    Each address has `connect_seconds` for the connection, and as long again for TLS, before the next one is tried.
    Nothing else has a deadline: the caller sets one.

    This uses httpx2's transport without a client, so no redirect is followed, no cookie is kept, and no proxy or
    password is taken from the environment.

    Raises:
        Fail: `host_not_allowed`: the host is not listed, or leads to an address that is not allowed.
        socket.gaierror: the name could not be resolved.
        httpx2.RequestError: there is no answer, or it broke off while the body was read.

    """
    host, addresses = await _check_host(request.url, hosts)
    async with httpx2.AsyncHTTPTransport(verify=tls) as transport:
        response = await _send(
            transport, request, addresses, {"sni_hostname": str(host), "timeout": {"connect": connect_seconds}}
        )
        try:
            yield response
        finally:
            await response.aclose()


async def _check_host(url: httpx2.URL, hosts: HttpHosts) -> tuple[Host, list[Address]]:
    port = _PORTS[url.scheme] if url.port is None else url.port
    try:
        host = host_of(url.raw_host.decode())
    except ValueError:
        raise _not_allowed(url, "is not a host that http.request may call") from None
    if not hosts.lists(host, port):
        raise _not_allowed(url, "is not a host that http.request may call")
    addresses = await _resolve(host, port) if isinstance(host, str) else [host]
    if not all(hosts.allows_address(address, port) for address in addresses):
        # Only the log names the addresses: callers could map the internal network with them.
        _log.warning("http_address_refused", host=str(host), addresses=[str(address) for address in addresses])
        raise _not_allowed(url, "leads to an address that http.request may not reach")
    return host, addresses


async def _resolve(name: str, port: int) -> list[Address]:
    """Return the addresses of a name, in the order in which this machine would try them."""
    lookup = partial(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, lookup)
    return list(dict.fromkeys(ip_address(str(address)) for *_, (address, *_) in found))


def _not_allowed(url: httpx2.URL, reason: str) -> Fail:
    return Fail(f"{url.netloc.decode()} {reason}", code="host_not_allowed")


async def _send(
    transport: httpx2.AsyncBaseTransport,
    request: httpx2.Request,
    addresses: Iterable[Address],
    extensions: dict[str, Any],
) -> httpx2.Response:
    """Send the request to the first address that can be connected to. Nothing is sent to those before it."""
    trouble: httpx2.RequestError = httpx2.ConnectError("the name has no address")
    for address in addresses:
        pinned = httpx2.Request(
            request.method,
            request.url.copy_with(host=str(address)),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
        try:
            return await transport.handle_async_request(pinned)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            trouble = error
    raise trouble
