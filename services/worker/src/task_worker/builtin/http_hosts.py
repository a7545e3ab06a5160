"""TASK_WORKER_HTTP_HOSTS: which hosts `http.request` may call, and where these may lead. Pure.

A URL's host must be listed, as a name, under a `*.` name, or as an address. Where a name leads must be public, listed
itself with the same port, or lie in a listed network: else whoever has a say in that name sends our requests into our
own network. A network lists no host: `10.0.0.0/8` lets a listed name lead there, and opens no address there to whoever
creates tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeAlias

from task_worker.builtin.addresses import Address, Network, carried_ipv4, is_public

Host: TypeAlias = str | Address
"""A name, in lower case, or an address."""

_PORTS = frozenset({80, 443})
_PORT_MAX = 65_535
_NAME_CHARS = 253
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""What ends in a number is an address to resolvers, in a spelling of old: 127.1, 0x7f.1, 2130706433."""
_ENTRY = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_EXPECTED = (
    "must be a host (api.example.org, *.example.org, 10.0.0.5; with a :port or without) or a network (10.0.0.0/8)"
)


@dataclass(frozen=True)
class HttpHosts:
    """The hosts and networks that are listed; `text` is the list as it was written.

    A host stands with its port, or with None for 80 and 443; `*.example.org` for all names below, not for itself.
    """

    text: str
    hosts: frozenset[tuple[Host, int | None]]
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, text: str) -> HttpHosts:
        """Read a list with commas.

        Raises:
            ValueError: an entry is nothing of the kind (named by its number, not repeated), or none is a host.

        """
        hosts: set[tuple[Host, int | None]] = set()
        networks: list[Network] = []
        for number, entry in enumerate(map(str.strip, text.split(",")), 1):
            try:
                if "/" in entry:
                    networks.append(ip_network(entry))
                elif entry:
                    hosts.add(_host_and_port(entry))
            except ValueError:
                raise ValueError(f"entry {number} {_EXPECTED}") from None
        if not hosts:
            raise ValueError("names no host: a network only says where the hosts that are listed may lead")
        return cls(text, frozenset(hosts), tuple(networks))

    def lists(self, host: Host, port: int) -> bool:
        """Whether a URL may name this host and port."""
        ports = (port, None) if port in _PORTS else (port,)
        return any((spelling, each) in self.hosts for spelling in _entries_that_match(host) for each in ports)

    def allows_address(self, address: Address, port: int) -> bool:
        """Whether a listed host may lead here. An address that stands for another needs both to be allowed."""
        carried = carried_ipv4(address)
        is_inside = any(address in network for network in self.networks)
        is_allowed = is_public(address) or is_inside or self.lists(address, port)
        return is_allowed and (carried is None or self.allows_address(carried, port))


def host_of(text: str) -> Host:
    """Read a host as a URL names it: ASCII, without brackets.

    Raises:
        ValueError: it is neither a name (one that ends in a dot is none) nor an address in its usual spelling.

    """
    name = text.lower()
    if _NAME.fullmatch(name) and len(name) <= _NAME_CHARS and not _NUMBER.fullmatch(name):
        return name
    address = ip_address(name)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("bears a zone")  # which of our networks it is in is not a caller's to say
    return address


def _host_and_port(entry: str) -> tuple[Host, int | None]:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        return host_of(entry), None  # an IPv6 address without brackets
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= _PORT_MAX:
        raise ValueError("is no port")
    host = match["host"] if match["ipv6"] is None else match["ipv6"]
    if not host.startswith("*."):
        return host_of(host), port
    below = host_of(host.removeprefix("*."))
    if not isinstance(below, str):
        raise ValueError("is an address")  # noqa: TRY004 # of the wrong value, as all else here
    return f"*.{below}", port


def _entries_that_match(host: Host) -> Iterator[Host]:
    """Yield what a list may call a host: by its own name, or as one below another."""
    yield host
    if isinstance(host, str):
        labels = host.split(".")
        yield from ("*." + ".".join(labels[skipped:]) for skipped in range(1, len(labels)))
