"""Checks the addresses of database and broker."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

_POSTGRESQL_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_BROKER_SCHEMES = frozenset({"amqp", "amqps", "memory"})
_SHIPPED_PASSWORDS = frozenset({"tasks", "guest"})
"""The passwords of docker-compose.yml and of a new RabbitMQ."""

IN_PROCESS_BROKER = "memory://"
"""The address of a broker for the parts of one process, which needs no server."""


def database_url(url: str) -> str:
    """Check that an address is one of a PostgreSQL, and return it without the white space around it.

    The rest of it is read, and refused, where the process connects: `task_store` knows what it means.

    Raises:
        ValueError: it has another scheme. The message repeats nothing of it.

    """
    scheme, is_url, _ = url.strip().partition("://")
    if not is_url or scheme not in _POSTGRESQL_SCHEMES:
        raise ValueError("must begin with postgresql://")
    return url.strip()


def broker_url(url: str) -> str:
    """Check the address of a broker, and return it without the white space around it.

    Raises:
        ValueError: it has another scheme than `amqp`, `amqps` and `memory`, or no host. The message repeats nothing of
            it.

    """
    parts = _split(url)
    if parts.scheme not in _BROKER_SCHEMES:
        raise ValueError("must begin with amqp:// or amqps://")
    if not parts.hostname and parts.scheme != "memory":
        raise ValueError("must name a host, as in amqp://user:password@host:5672/")
    return url.strip()


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`, a name or an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, which may stand for any address
        return False


def has_shipped_password(url: str) -> bool:
    """Return whether an address has a password that everybody knows, and a host that other machines may reach."""
    parts = urlsplit(url)
    return unquote(parts.password or "") in _SHIPPED_PASSWORDS and not is_loopback(parts.hostname or "localhost")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # only reading it parses it, which may raise
    except ValueError:
        # Not the parser's own message, which repeats what it takes for the port: that may be half of a password.
        raise ValueError(
            "is not an address; special characters in a password are written as %2F (/), %40 (@), %3A (:)"
        ) from None
    return parts


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda url: SecretStr(check(url.get_secret_value())))


DatabaseUrl = Annotated[SecretStr, _secret(database_url)]
"""The address of a PostgreSQL, as it was written. A secret: only `get_secret_value()` shows it."""

BrokerUrl = Annotated[SecretStr, _secret(broker_url)]
"""The address of a RabbitMQ (`amqp://`, `amqps://`), or `memory://`. A secret, as `DatabaseUrl` is."""
