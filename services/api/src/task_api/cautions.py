"""What an operator should know before trusting this API with work: the warnings at its start. No I/O."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from task_api.settings import ApiSettings
from task_runtime import unknown_variables
from task_store import SCHEMA_REVISION, DatabaseFacts

TESTED_MAJORS = (15, 18)
"""The versions of PostgreSQL that the tests run on."""

_SHIPPED_PASSWORDS = frozenset({"tasks", "guest"})
_NEAR = 0.8

_OPEN = (
    "anybody who reaches {} may create and cancel tasks: there is no authentication; "
    "put a proxy that has one before it, or listen on 127.0.0.1"
)
_NOT_DURABLE = "fsync or synchronous_commit is off: a power cut can lose tasks that were accepted; turn them on"
_GREEDY = (
    "TASK_API_DATABASE_POOL_SIZE: this process alone may open {} of the server's {} connections; "
    "lower it, or raise max_connections"
)
_UNTESTED = "PostgreSQL {} is not among the versions that were tested ({})"
_NEWER_SCHEMA = "the schema ({}) is newer than this version knows ({}): update task-api"
_SHIPPED = "the password is the shipped one; choose your own where others reach the server"


def connections_of(settings: ApiSettings) -> int:
    """Return how many database connections the process opens, at most: those for callers, and one for health."""
    return settings.database_pool_size + 1


def cautions(settings: ApiSettings, facts: DatabaseFacts, revision: str) -> list[str]:
    """Return the warnings, each a sentence that says what to do."""
    checks = [
        (not _is_loopback(settings.host), _OPEN.format(settings.host)),
        (not facts.is_durable, _NOT_DURABLE),
        (_is_greedy(settings, facts), _GREEDY.format(connections_of(settings), facts.max_connections)),
        (facts.major not in TESTED_MAJORS, _UNTESTED.format(facts.major, ", ".join(map(str, TESTED_MAJORS)))),
        (revision > SCHEMA_REVISION, _NEWER_SCHEMA.format(revision, SCHEMA_REVISION)),
        (_has_shipped_password(settings.database_url), f"TASK_DATABASE_URL: {_SHIPPED}"),
        (_has_shipped_password(settings.broker_url), f"TASK_BROKER_URL: {_SHIPPED}"),
    ]
    return [text for is_so, text in checks if is_so] + unknown_variables(type(settings))


def _is_greedy(settings: ApiSettings, facts: DatabaseFacts) -> bool:
    return connections_of(settings) > _NEAR * facts.max_connections


def _has_shipped_password(url: SecretStr) -> bool:
    parts = urlsplit(url.get_secret_value())
    is_shipped = unquote(parts.password or "") in _SHIPPED_PASSWORDS
    return is_shipped and not _is_loopback(parts.hostname or "localhost")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, which may mean any address
        return False
