"""The warnings that the API shows at its start, for the operator. No I/O."""

from __future__ import annotations

from task_api.settings import ApiSettings
from task_runtime import shared_startup_warnings
from task_store import DatabaseFacts

_OPEN = (
    "anybody who reaches {} may create and cancel tasks: there is no authentication; make a key (task-api keys create) "
    "and set TASK_API_AUTH=keys, or off where something else keeps strangers away"
)


def api_startup_warnings(settings: ApiSettings, facts: DatabaseFacts, revision: str) -> list[str]:
    """Return the warnings, each a sentence that says what to do."""
    open_ones = [_OPEN.format(settings.host)] if settings.is_open_by_oversight else []
    # The health checks have one more connection than there are for callers, and the keys of /metrics another one.
    connections = settings.database_pool_size + 1 + settings.has_metrics_keys
    return [
        *open_ones,
        *facts.startup_warnings(revision, connections),
        *shared_startup_warnings(settings),
    ]
