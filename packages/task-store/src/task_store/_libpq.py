"""Sorts the parameters of a database URL, as libpq knows them, by who understands them: driver, server or socket.

One that nobody does is refused: what a user asked for is never dropped silently. They are described at
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

_DRIVER = frozenset(
    {
        *("host", "port", "dbname", "user", "password", "passfile", "service", "target_session_attrs"),
        *("sslmode", "sslnegotiation", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
    }
)
"""What asyncpg reads in a URL (0.32)."""
_SERVER = frozenset({"application_name", "options"})
"""What libpq, too, only sends to the server."""
_IDLE = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # the same on macOS
_SOCKET = {
    "keepalives": (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    "keepalives_idle": (socket.IPPROTO_TCP, _IDLE, 30),
    "keepalives_interval": (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
    "keepalives_count": (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    "tcp_user_timeout": (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 0),
}
"""Names of socket options, of which not every system has each, and the values where the URL has none: a NAT does not
forget an idle connection, and a server that has vanished is noticed within a minute."""
_HELD_ANYWAY = {
    "channel_binding": {"disable", "prefer"},
    "gssencmode": {"disable", "prefer"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
    "load_balance_hosts": {"disable"},
    "client_encoding": {"auto", "UTF8", "utf8", "UTF-8", "utf-8"},
}
"""The values that change nothing here. Any other asks for what asyncpg cannot do."""
_SYSTEM = "system"
"""The `sslrootcert` that means the certificates of the operating system (libpq 16)."""


@dataclass(frozen=True)
class LibpqParameters:
    """The parameters of a URL, each for the one who understands it."""

    driver: Mapping[str, str] = field(repr=False)
    """For asyncpg, in its URL. May hold a password."""
    server_settings: Mapping[str, str]
    """For the server, sent with the first message."""
    socket_options: tuple[tuple[int, int, int], ...]
    """For the TCP socket: level, option, value."""
    connect_seconds: float | None
    """How long connecting may take; None sets no bound."""
    tls: ssl.SSLContext | None
    """Where the driver cannot make its own from its parameters."""


def sort_parameters(query: str) -> LibpqParameters:
    """Sort the parameters of a URL's query, `name=value` pairs. Reads the certificates that it names.

    Raises:
        ValueError: one is unknown, cannot be had, or names a file that cannot be used. The text is one line without a
            value that may be secret.

    """
    given = {"sslmode" if name == "ssl" else name: value for name, value in _pairs(query)}
    _refuse_unknown(given)
    tls = _tls_context(given)
    driver = {name: value for name, value in given.items() if name in _DRIVER}
    if tls is not None:
        driver = {name: value for name, value in driver.items() if not name.startswith("ssl")}
    return LibpqParameters(
        driver,
        {name: value for name, value in given.items() if name in _SERVER},
        tuple(_socket_options(given)),
        _positive(given, "connect_timeout"),
        tls,
    )


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&") if query else []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError("the query after ? must be name=value pairs, joined by &")
        yield unquote(name), unquote(value)  # not parse_qsl: in libpq a + is no blank


def _refuse_unknown(given: Mapping[str, str]) -> None:
    known = {*_DRIVER, *_SERVER, *_SOCKET, *_HELD_ANYWAY, "connect_timeout"}
    for name, value in given.items():
        if name not in known:
            shown = f" {name!r}" if name.isidentifier() else ""
            raise ValueError(
                f"the parameter{shown} is not known; settings of the server are written options=-c%20work_mem%3D…"
            )
        if name in _HELD_ANYWAY and value not in _HELD_ANYWAY[name]:
            raise ValueError(
                f"{name}={value} cannot be had: the driver has no such thing; leave it out, or take one of:"
                f" {', '.join(sorted(_HELD_ANYWAY[name]))}"
            )


def _socket_options(given: Mapping[str, str]) -> Iterator[tuple[int, int, int]]:
    for name, (level, option, usual) in _SOCKET.items():
        value = _whole(given, name)
        value = usual if value is None else value
        if (value > 0 or name == "keepalives") and hasattr(socket, option):  # 0: the system's own, as in libpq
            yield level, getattr(socket, option), value


def _positive(given: Mapping[str, str], name: str) -> float | None:
    value = _whole(given, name)
    return float(value) if value is not None and value > 0 else None


def _whole(given: Mapping[str, str], name: str) -> int | None:
    try:
        return int(given[name]) if name in given else None
    except ValueError:
        raise ValueError(f"{name} must be a whole number") from None


def _tls_context(given: Mapping[str, str]) -> ssl.SSLContext | None:
    """Read the certificates, so that a wrong file is an error now; return a context where only that can hold them."""
    root, own = given.get("sslrootcert"), given.get("sslcert")
    if not root and not own:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if root == _SYSTEM:
            context.load_default_certs()
        elif root:
            context.load_verify_locations(root)
        if own:
            context.load_cert_chain(own, given.get("sslkey"), lambda: given.get("sslpassword", ""))
    except OSError as error:  # a file is missing, or it is no certificate (SSLError)
        reason = error.strerror or "no certificate or key in it"
        raise ValueError(f"sslrootcert or sslcert cannot be read: {reason}") from None
    return context if root == _SYSTEM else None
