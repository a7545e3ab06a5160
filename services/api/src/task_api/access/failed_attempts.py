"""Counts the wrong keys that come from each address, in a table that cannot fill the memory."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address

ATTEMPTS_MAX = 10
"""Wrong keys from one address within `WINDOW_SECONDS`, after which no other key of it is looked up."""
WINDOW_SECONDS = 60.0
_ADDRESSES_MAX = 10_000
_IPV6_HOST_BITS = 64
"""One caller has so many addresses at least."""


class FailedAttempts:
    """The addresses from which wrong keys came of late. Of more than 10,000 the ones that began first are forgotten."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[float, int]] = {}
        """By address: when its window began, and how many wrong keys came since."""

    def seconds_left(self, address: str) -> int:
        """Return for how many seconds no key from this address is looked up; 0 where it may try."""
        began_at, attempts = self._window(_caller(address))
        if attempts < ATTEMPTS_MAX:
            return 0
        return max(1, math.ceil(began_at + WINDOW_SECONDS - time.monotonic()))

    def add(self, address: str) -> None:
        """Count a wrong key."""
        caller = _caller(address)
        began_at, attempts = self._window(caller)
        if not attempts:
            self._windows.pop(caller, None)  # a new window stands behind all others
            if len(self._windows) >= _ADDRESSES_MAX:
                del self._windows[next(iter(self._windows))]
        self._windows[caller] = (began_at, attempts + 1)

    def _window(self, caller: str) -> tuple[float, int]:
        now = time.monotonic()
        began_at, attempts = self._windows.get(caller, (now, 0))
        return (began_at, attempts) if now < began_at + WINDOW_SECONDS else (now, 0)


def _caller(address: str) -> str:
    """Return what stands for one caller: an IPv4 address, or the network of an IPv6 one."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:  # what a trusted proxy may say
        return ""
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS))
