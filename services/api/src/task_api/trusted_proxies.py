"""Which proxies are believed, where they say for whom they ask (`X-Forwarded-For`, `X-Forwarded-Proto`).

Anybody can send these headers; so they are read only from addresses that the settings list, by uvicorn's own
middleware. `X-Forwarded-Host` is read from nobody: `task_api.hosts` looks at `Host` alone.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import BeforeValidator


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return tuple(dict.fromkeys(str(ip_network(part)) for part in parts))
    except ValueError:
        raise ValueError("must be addresses or networks, separated by commas: 127.0.0.1, 10.0.0.0/8") from None


Networks = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Addresses and networks, separated by commas in the environment; an address is a network of one."""
