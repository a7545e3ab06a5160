from __future__ import annotations

from ipaddress import ip_address

import pytest

from task_contracts.testing import assert_linear
from task_worker.builtin.http_hosts import HttpHosts, host_of


@pytest.mark.parametrize(
    ("text", "host", "ports", "refused"),
    [
        ("api.example.org", "api.example.org", [80, 443], [8443, 0, 22]),
        ("API.Example.ORG", "api.example.org", [80, 443], []),
        ("api.example.org:8443", "api.example.org", [8443], [80, 443]),
        ("api.example.org:8443, api.example.org", "api.example.org", [80, 443, 8443], [9000]),
        ("localhost", "localhost", [80], []),
        ("my_service", "my_service", [80], []),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", [443], []),
        ("*.example.org", "a.example.org", [80, 443], [8443]),
        ("*.example.org", "a.b.example.org", [80], []),
        ("*.example.org:9443", "a.example.org", [9443], [443]),
        ("10.0.0.5", ip_address("10.0.0.5"), [80, 443], [8080]),
        ("10.0.0.5:8080", ip_address("10.0.0.5"), [8080], [80]),
        ("fd00::5", ip_address("fd00::5"), [80], []),
        ("[fd00::5]", ip_address("fd00::5"), [80], []),
        ("[fd00::5]:8080", ip_address("fd00:0::5"), [8080], [80]),
    ],
)
def test_a_host_is_listed_with_its_port(text: str, host: object, ports: list[int], refused: list[int]) -> None:
    hosts = HttpHosts.parse(f"other.example, {text} ,10.9.0.0/16")

    assert all(hosts.lists(host, port) for port in ports)  # type: ignore[arg-type]
    assert not any(hosts.lists(host, port) for port in refused)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("api.example.org", "example.org"),
        ("api.example.org", "x.api.example.org"),
        ("*.example.org", "example.org"),
        ("*.example.org", "badexample.org"),
        ("*.example.org", "example.org.evil.net"),
        ("api.example.org", "api.example.org.evil.net"),
        ("api.example.org, 10.0.0.0/8", "10.0.0.5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("10.0.0.5", "::ffff:10.0.0.5"),
    ],
)
def test_a_host_that_only_looks_like_a_listed_one_is_not_listed(text: str, host: str) -> None:
    assert not HttpHosts.parse(text).lists(host_of(host), 80)


@pytest.mark.parametrize(
    ("text", "address", "is_reached"),
    [
        ("api.example.org", "93.184.216.34", True),
        ("api.example.org", "10.0.0.1", False),
        ("api.example.org", "127.0.0.1", False),
        ("api.example.org", "169.254.169.254", False),
        ("api.example.org", "::1", False),
        ("api.example.org, 10.0.0.0/8", "10.0.0.1", True),
        ("api.example.org, 10.0.0.0/8", "192.168.0.1", False),
        ("api.example.org, 10.0.0.0/8", "::ffff:10.0.0.1", False),
        ("api.example.org, 10.0.0.0/8", "fd00::1", False),
        ("api.example.org, fd00::/8", "fd00::1", True),
        ("api.example.org, 127.0.0.1", "127.0.0.1", True),
        ("api.example.org, 127.0.0.1", "127.0.0.2", False),
        # An address that carries another: both must be allowed.
        ("api.example.org, 64:ff9b::/96", "64:ff9b::5db8:d822", True),
        ("api.example.org, 64:ff9b::/96", "64:ff9b::a00:1", False),
        ("api.example.org, 64:ff9b::/96, 10.0.0.0/8", "64:ff9b::a00:1", True),
        ("api.example.org, ::ffff:0:0/96", "::ffff:127.0.0.1", False),
        ("api.example.org, 2002::/16", "2002:7f00:1::", False),
    ],
)
def test_a_host_may_lead_to_public_addresses_and_to_listed_networks(text: str, address: str, is_reached: bool) -> None:
    assert HttpHosts.parse(text).allows_address(ip_address(address), 443) is is_reached


@pytest.mark.parametrize(
    ("text", "address", "ports", "refused"),
    [
        ("*.example.org, 10.0.0.5:8080", "10.0.0.5", [8080], [80, 443, 22]),
        ("*.example.org:8080, 10.0.0.5", "10.0.0.5", [80, 443], [8080]),
        ("*.example.org:8080, 10.0.0.5/32", "10.0.0.5", [80, 8080], []),
        ("*.example.org, 10.0.0.5:8080, 64:ff9b::/96", "64:ff9b::a00:5", [8080], [80]),
    ],
)
def test_a_name_leads_to_a_listed_address_on_the_ports_of_that_one(
    text: str, address: str, ports: list[int], refused: list[int]
) -> None:
    hosts = HttpHosts.parse(text)

    assert all(hosts.allows_address(ip_address(address), port) for port in ports)
    assert not any(hosts.allows_address(ip_address(address), port) for port in refused)


@pytest.mark.parametrize(
    "entry",
    [
        "https://api.example.org",
        "api.example.org/path",
        "user:secret@api.example.org",
        "api.example.org:",
        "api.example.org:0",
        "api.example.org:65536",
        "api.example.org:http",
        "api.example.org.",
        "api..example.org",
        "-api.example.org",
        "bücher.example",
        "*",
        "*.",
        "*.*.example.org",
        "api.*.example.org",
        "*.10.0.0.5",
        "*example.org",
        "10.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/8:80",
        "fe80::1%eth0",
        "[fe80::1%25eth0]:80",
        "[::1",
        "a b",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
    ],
)
def test_a_wrong_entry_is_named_by_its_number_and_not_repeated(entry: str) -> None:
    with pytest.raises(ValueError, match=r"^entry 3 must be a host") as caught:
        HttpHosts.parse(f"api.example.org,,{entry}")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["10.0.0.0/8, fd00::/8", " , "])
def test_a_list_without_a_host_lets_nothing_be_called(text: str) -> None:
    with pytest.raises(ValueError, match=r"^names no host"):
        HttpHosts.parse(text)


def test_no_host_takes_more_than_linear_time() -> None:
    assert_linear(host_of)
