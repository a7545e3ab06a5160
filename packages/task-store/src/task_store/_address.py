"""Reads the URL of a database, and says what is wrong with it without showing the password.

**Invariants**

- What is shown of a URL is host, port, database and user. Where a special character in the password is not escaped, and
  it is not sure which part is which, nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from task_store._libpq import LibpqParameters, sort_parameters
from task_store.errors import UnusableDatabaseError

ESCAPES = "@ as %40, # as %23, / as %2F, ? as %3F, : as %3A, % as %25"
"""How special characters in a user name or password are written."""

_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_DEFAULT_PORT = "5432"
_MOST_PORT = 65_535
_DEFAULT = "(default)"
_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(?::(\d+))?")


@dataclass(frozen=True)
class DatabaseAddress:
    """The address of a database: `str()` names host, port, database and user, for a person."""

    dsn: str = field(repr=False)
    """The URL for asyncpg, with the parameters that it knows. Has the password in it."""
    parameters: LibpqParameters
    hosts: str
    ports: str
    database: str
    user: str

    @classmethod
    def parse(cls, url: str) -> DatabaseAddress:
        """Read a URL as libpq does: `postgresql://user:password@host:5432/tasks?sslmode=require`.

        Several hosts are separated by commas. A socket is named as `postgresql:///tasks?host=/folder`. Reads the files
        of certificates that the URL names, and connects to nothing.

        Raises:
            UnusableDatabaseError: it cannot be used. `advice` says why, without the password.

        """
        text = url.strip()
        parts = _split(text)
        _refuse_unescaped(text, parts)
        try:
            return cls._of(parts, sort_parameters(parts.query))
        except ValueError as error:
            raise _unusable(str(error)) from None

    @classmethod
    def _of(cls, parts: SplitResult, parameters: LibpqParameters) -> DatabaseAddress:
        given = parameters.driver
        userinfo, _, netloc = parts.netloc.rpartition("@")
        hosts, ports = _hosts(netloc, given)
        user = unquote(userinfo.partition(":")[0]) or given.get("user", "")
        database = unquote(parts.path.removeprefix("/")) or given.get("dbname", "") or user
        query = urlencode(given, quote_via=quote)
        dsn = f"postgresql://{parts.netloc}{parts.path}{query and '?'}{query}"
        return cls(dsn, parameters, hosts, ports, database or _DEFAULT, user or _DEFAULT)

    def __str__(self) -> str:
        return f"host {self.hosts}, port {self.ports}, database {self.database}, user {self.user}"


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
    except ValueError:  # not its own text, which repeats a part of the URL
        parts = SplitResult("", "", "", "", "")
    if "://" not in text or not parts.scheme:
        raise _unusable(
            "is not a database URL, such as postgresql://user:password@host:5432/tasks; special characters in "
            f"passwords are escaped: {ESCAPES}, [ as %5B"
        )
    if parts.scheme not in _SCHEMES:
        raise _unusable(f"names the database driver {parts.scheme!r}; only postgresql:// is supported")
    return parts


def _refuse_unescaped(text: str, parts: SplitResult) -> None:
    """Refuse a URL with more than the one `@` before the host, or with a `#`: both belong to a password."""
    if "#" not in text and text.count("@") == parts.netloc.count("@") <= 1:
        return
    userinfo, _, place = text.partition("://")[2].rpartition("@")
    named = ""
    # The last @ ends the password, unless it stands in the query, which a ? begins; and so does what a # begins.
    if userinfo and "?" not in userinfo and "#" not in place:
        host, _, path = place.partition("/")
        name, _, port = host.partition(":")
        user = userinfo.partition(":")[0]
        named = f"host {name}, port {port or _DEFAULT_PORT}, database {path.partition('?')[0]}, user {user}: "
    raise _unusable(f"{named}a special character is not escaped, probably in the password; write {ESCAPES}")


def _hosts(netloc: str, given: Mapping[str, str]) -> tuple[str, str]:
    """Return the names and the ports of the hosts, each joined by commas."""
    if not netloc:
        hosts, ports = [given.get("host") or _DEFAULT], (given.get("port") or _DEFAULT_PORT).split(",")
    else:
        found = [_HOST.fullmatch(host) for host in netloc.split(",")]
        hosts = [unquote(host[1]) for host in found if host]
        ports = [host[2] or _DEFAULT_PORT if host else "" for host in found]
    if not all(port.isdecimal() and 0 < int(port) <= _MOST_PORT for port in ports):
        raise ValueError(f"the port is not a number from 1 to {_MOST_PORT}, or a host has no name")
    return ",".join(hosts), ",".join(dict.fromkeys(ports))


def _unusable(advice: str) -> UnusableDatabaseError:
    return UnusableDatabaseError("the database URL cannot be used", advice=advice)
