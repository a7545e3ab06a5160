"""Sends a request to an address that was checked: between the check and the connection nobody resolves again.

A name that leads to a public address when it is checked and to one of ours when it is connected to ("DNS rebinding")
finds no second question. TLS and the Host header speak of the name all the same.
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
import structlog

from task_worker.builtin.addresses import Address
from task_worker.builtin.http_hosts import Host, HttpHosts, host_of
from task_worker.exceptions import Fail
from task_worker.threads import DaemonThreads

_PORTS = {"http": 80, "https": 443}
_RESOLVERS = DaemonThreads("resolver", 16)
"""Nothing ends a lookup before its time, so a name server that is silent takes threads from these, and not from the
event loop, which has a few for all connections of the process; and the process ends without waiting for them."""
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_response(
    request: httpx2.Request, hosts: HttpHosts, tls: ssl.SSLContext, *, connect_seconds: float
) -> AsyncIterator[httpx2.Response]:
    """Send a request and give its answer, the body yet unread, over a connection of its own.

    One address may take `connect_seconds` to answer, and then again for TLS, before the next one is tried.

    There is nothing here that could follow a redirect, keep a cookie, or take a proxy or a password from the
    environment: that is what an httpx2 client adds to its transport, and this is the transport alone. It has no
    deadline but for connecting: the caller sets one.

    Raises:
        Fail: `host_not_allowed`: the host is not listed, or leads to an address that is not allowed.
        socket.gaierror: its name could not be resolved.
        httpx2.RequestError: there is no answer; while the body is read, it broke off.

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
        # Which address is told to the operator alone: callers could map our network with it.
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
    """Send it to the first of the addresses that can be connected to: until then, nothing has been sent."""
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
