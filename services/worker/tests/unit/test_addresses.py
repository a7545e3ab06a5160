from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from task_worker.builtin.addresses import carried_ipv4, is_public


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "3ffe:ffff::1",
    ],
)
def test_addresses_of_the_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::1/128",
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of one's own
        "100::/64",  # discard
        "2001::/32",  # Teredo
        "2001:2::/48",  # benchmarks
        "2001:10::/28",  # ORCHID
        "2001:20::/28",  # ORCHID, the second
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # unique-local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    ],
)
def test_special_addresses_are_not_public_from_the_first_to_the_last(text: str) -> None:
    network = ip_network(text)

    assert not is_public(network[0])
    assert not is_public(network[-1])


def test_nothing_that_python_knows_to_be_special_is_public() -> None:
    numbers = random.Random(8)
    anywhere = [IPv4Address(numbers.getrandbits(32)) for _ in range(20_000)]
    anywhere += [IPv6Address(numbers.getrandbits(128)) for _ in range(2_000)]
    anywhere += [IPv6Address((0x2001 << 112) | numbers.getrandbits(112) >> numbers.randrange(64)) for _ in range(5_000)]

    passed = [address for address in anywhere if is_public(address)]

    assert len(passed) > 10_000
    assert [a for a in passed if not a.is_global or a.is_multicast or a.is_reserved or a.is_link_local] == []


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("64:ff9b::a00:1", "10.0.0.1"),
        ("2002:a9fe:a9fe::", "169.254.169.254"),
        ("2001:4860:4860::8888", None),
        ("::1", None),
        ("10.0.0.1", None),
    ],
)
def test_an_ipv4_address_inside_another_is_found(text: str, end: str | None) -> None:
    assert carried_ipv4(ip_address(text)) == (None if end is None else ip_address(end))
