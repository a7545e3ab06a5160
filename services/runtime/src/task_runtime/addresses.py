"""Where the database and the broker are: what people write, and what our libraries want."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from pydantic import AfterValidator, SecretStr

_POSTGRESQL_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_BROKER_SCHEMES = frozenset({"amqp", "amqps", "memory"})
_SHIPPED_PASSWORDS = frozenset({"tasks", "guest"})
"""What our compose file and RabbitMQ come with."""

IN_PROCESS_BROKER = "memory://"
"""The broker of a process that has both ends in it."""


def asyncpg_url(url: str) -> str:
    """Return the address of a PostgreSQL in the form that SQLAlchemy's asyncpg dialect takes.

    Accepts `postgresql://`, `postgres://` and `postgresql+asyncpg://`; `sslmode=` of libpq becomes asyncpg's `ssl=`.
    A socket is named as `postgresql:///database?host=/folder`.

    Raises:
        ValueError: another scheme, or not an address; the message repeats none of it.

    """
    parts = _split(url)
    if parts.scheme not in _POSTGRESQL_SCHEMES:
        raise ValueError("must begin with postgresql://")
    options = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode([("ssl" if key == "sslmode" else key, value) for key, value in options], safe="/:")
    return f"postgresql+asyncpg://{parts.netloc}{parts.path}{query and '?'}{query}"


def broker_url(url: str) -> str:
    """Return the address of a broker, checked.

    Raises:
        ValueError: another scheme than `amqp`, `amqps` and `memory`, or no host; the message repeats none of it.

    """
    parts = _split(url)
    if parts.scheme not in _BROKER_SCHEMES:
        raise ValueError("must begin with amqp:// or amqps://")
    if not parts.hostname and parts.scheme != "memory":
        raise ValueError("must name a host, as in amqp://user:password@host:5672/")
    return url.strip()


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches `host`, a name or an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, which may mean any address
        return False


def has_shipped_password(url: str) -> bool:
    """Whether an address bears a password that everybody knows, and leads to where others may come too."""
    parts = urlsplit(url)
    return unquote(parts.password or "") in _SHIPPED_PASSWORDS and not is_loopback(parts.hostname or "localhost")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # it is parsed, and may be refused, only when it is read
    except ValueError:
        # Not the parser's own message: what it takes for a port may be half of a password.
        raise ValueError(
            "is not an address; special characters in a password are written as %2F (/), %40 (@), %3A (:)"
        ) from None
    return parts


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda url: SecretStr(check(url.get_secret_value())))


DatabaseUrl = Annotated[SecretStr, _secret(asyncpg_url)]
"""A PostgreSQL, as `asyncpg_url` gives it; never printed, `get_secret_value()` reads it."""

BrokerUrl = Annotated[SecretStr, _secret(broker_url)]
"""A RabbitMQ (`amqp://`, `amqps://`), or `memory://`; never printed, `get_secret_value()` reads it."""
