"""The worker's startup warnings. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from task_runtime import shared_startup_warnings
from task_store import DatabaseFacts
from task_worker.builtin import is_built_in
from task_worker.connections import CONNECTIONS
from task_worker.handlers import Handler
from task_worker.settings import WorkerSettings

_NO_HANDLERS = "no handlers beyond the built-in ones: set TASK_WORKER_HANDLERS (task-service: --handlers)"
_NO_PURGE = "TASK_WORKER_RETENTION_DAYS is 0: ended tasks are kept for ever"
_SHORT_DRAIN = (
    "TASK_WORKER_DRAIN_SECONDS ({:g}) is shorter than the longest timeout of a handler ({:g}): "
    "a task that still runs then is stopped and runs again"
)


def worker_startup_warnings(
    settings: WorkerSettings, handlers: Mapping[str, Handler], facts: DatabaseFacts, revision: str
) -> list[str]:
    """Return the warnings, each a sentence that says what to do."""
    own = [handler for handler in handlers.values() if not is_built_in(handler)]
    # Of limits that somebody has set: the defaults of both are no mistake of anybody's.
    is_set = bool({"timeout_seconds", "drain_seconds"} & settings.model_fields_set)
    usual = settings.timeout_seconds if is_set else 0.0
    longest = max((handler.timeout_seconds or usual for handler in own), default=0.0)
    checks = [
        (not own and settings.http_hosts is None, _NO_HANDLERS),
        (settings.retention_days == 0, _NO_PURGE),
        (settings.drain_seconds < longest, _SHORT_DRAIN.format(settings.drain_seconds, longest)),
    ]
    texts = [text for is_so, text in checks if is_so]
    return [
        *texts,
        *facts.startup_warnings(revision, CONNECTIONS + settings.has_metrics_keys),
        *shared_startup_warnings(settings),
    ]
