from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest
from structlog.testing import capture_logs

from task_api.app import create_app
from task_api.parts import ApiParts

OpenFrom = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def open_from(parts: ApiParts) -> OpenFrom:
    """Open a client with this address, of an application that trusts these proxies."""

    def opened(address: str, *trusted: str) -> httpx2.AsyncClient:
        app = create_app(replace(parts, settings=parts.settings.model_copy(update={"trusted_proxies": trusted})))
        transport = httpx2.ASGITransport(app, client=(address, 123))
        return httpx2.AsyncClient(transport=transport, base_url="http://test")

    return opened


@pytest.mark.parametrize(
    ("address", "trusted", "forwarded", "logged"),
    [
        ("203.0.113.9", (), ["198.51.100.7"], "203.0.113.9"),
        ("203.0.113.9", ("10.0.0.0/8",), ["198.51.100.7"], "203.0.113.9"),
        ("10.1.2.3", ("10.0.0.0/8",), [], "10.1.2.3"),
        ("10.1.2.3", ("10.0.0.0/8",), ["198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ("10.1.2.3/32",), ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.1.2.3", ("10.0.0.0/8",), ["2001:db8::7"], "2001:db8::7"),
        ("2001:db8::1", ("2001:db8::/64",), ["198.51.100.7"], "198.51.100.7"),
        # What the caller itself has sent stands before what the proxy adds.
        ("10.1.2.3", ("10.0.0.0/8",), ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.1.2.3", ("10.0.0.0/8",), ["1.1.1.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.1.2.3", ("10.0.0.0/8",), ['" status=200 x="'], "unknown"),
        ("10.1.2.3", ("10.0.0.0/8",), ["x" * 10_000], "unknown"),
    ],
)
async def test_the_client_in_the_log_is_who_asked_the_last_trusted_proxy(
    open_from: OpenFrom, address: str, trusted: tuple[str, ...], forwarded: list[str], logged: str
) -> None:
    async with open_from(address, *trusted) as client:
        with capture_logs() as lines:
            await client.get("/nothing", headers=[("x-forwarded-for", value) for value in forwarded])

    assert [line["client"] for line in lines] == [logged]


@pytest.mark.parametrize("forwarded", ["evil.example.org", "test"])
async def test_no_proxy_can_say_another_host(open_from: OpenFrom, forwarded: str) -> None:
    headers = {"x-forwarded-host": forwarded, "forwarded": f"host={forwarded}"}
    async with open_from("10.1.2.3", "10.0.0.0/8") as client:
        taken = await client.get("/health/live", headers=headers)
        refused = await client.get("/health/live", headers={**headers, "host": "evil.example.org"})

    assert (taken.status_code, refused.status_code) == (200, 421)
