"""Reads TASK_WORKER_HTTP_HOSTS: which hosts `http.request` may call, and to which addresses they may lead. Pure.

The host of a URL must be listed: as a name, below a `*.` name, or as an address. An address that a name leads to must
be public, listed itself with the same port, or in a listed network. Otherwise the owner of that name could direct
requests into the worker's own network. A network lists no host: `10.0.0.0/8` lets listed names lead to addresses in it,
but no task may call such an address directly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeAlias

from task_worker.builtin.addresses import Address, Network, carried_ipv4, is_public

Host: TypeAlias = str | Address
"""A name in lower case, or an address."""

_PORTS = frozenset({80, 443})
_PORT_MAX = 65_535
_NAME_CHARS = 253
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""Resolvers read a name that ends in a number as an address, in an old notation: 127.1, 0x7f.1, 2130706433."""
_ENTRY = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>[0-9]{1,5}))?")
_EXPECTED = (
    "must be a host (api.example.org, *.example.org, 10.0.0.5; with a :port or without) or a network (10.0.0.0/8)"
)


@dataclass(frozen=True)
class HttpHosts:
    """The listed hosts and networks; `text` is the list as it was written.

    Each host comes with its port, or with None for 80 and 443. `*.example.org` lists all names below `example.org`, but
    not `example.org` itself.
    """

    text: str
    hosts: frozenset[tuple[Host, int | None]]
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, text: str) -> HttpHosts:
        """Read a list separated by commas.

        Raises:
            ValueError: an entry is neither a host nor a network (the text gives its number, not its content), or no
                entry is a host.

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
        """Return whether a URL may name this host and port."""
        ports = (port, None) if port in _PORTS else (port,)
        return any((spelling, each) in self.hosts for spelling in _entries_that_match(host) for each in ports)

    def allows_address(self, address: Address, port: int) -> bool:
        """Return whether a listed host may lead to this address. If it carries an IPv4 one, both must be allowed."""
        carried = carried_ipv4(address)
        is_inside = any(address in network for network in self.networks)
        is_allowed = is_public(address) or is_inside or self.lists(address, port)
        return is_allowed and (carried is None or self.allows_address(carried, port))


def host_of(text: str) -> Host:
    """Read the host of a URL: ASCII, without brackets.

    Raises:
        ValueError: it is neither a name (a dot at the end is not allowed) nor an address in its usual notation.

    """
    name = text.lower()
    if len(name) <= _NAME_CHARS and _NAME.fullmatch(name) and not _NUMBER.fullmatch(name):
        return name
    address = ip_address(name)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError("has a zone")  # a caller must not choose among the networks of this machine
    return address


def _host_and_port(entry: str) -> tuple[Host, int | None]:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        return host_of(entry), None  # an IPv6 address without brackets
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= _PORT_MAX:
        raise ValueError("is not a port")
    host = match["host"] if match["ipv6"] is None else match["ipv6"]
    if not host.startswith("*."):
        return host_of(host), port
    below = host_of(host.removeprefix("*."))
    if not isinstance(below, str):
        raise ValueError("is an address")  # noqa: TRY004 # ValueError like every other wrong entry
    return f"*.{below}", port


def _entries_that_match(host: Host) -> Iterator[Host]:
    """Yield the entries that list a host: its own name, and `*.` with each name above it."""
    yield host
    if isinstance(host, str):
        labels = host.split(".")
        yield from ("*." + ".".join(labels[skipped:]) for skipped in range(1, len(labels)))
