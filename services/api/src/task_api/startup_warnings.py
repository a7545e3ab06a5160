"""The warnings that the API shows at its start, for the operator. No I/O."""

from __future__ import annotations

from task_api.settings import ApiSettings
from task_runtime import is_loopback, shared_startup_warnings
from task_store import DatabaseFacts

_OPEN = (
    "anybody who reaches {} may create and cancel tasks: there is no authentication; "
    "put a proxy that has one before it, or listen on 127.0.0.1"
)


def api_startup_warnings(settings: ApiSettings, facts: DatabaseFacts, revision: str) -> list[str]:
    """Return the warnings, each a sentence that says what to do."""
    open_ones = [] if is_loopback(settings.host) else [_OPEN.format(settings.host)]
    # The health checks have one more connection than there are for callers.
    return [
        *open_ones,
        *facts.startup_warnings(revision, settings.database_pool_size + 1),
        *shared_startup_warnings(settings),
    ]
