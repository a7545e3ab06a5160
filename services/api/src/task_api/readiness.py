"""Checks whether this process can do its work: the answer of /health/ready.

Only the database makes it unavailable. Without the broker tasks are still accepted and run, and the tasks of a queue
without workers are kept.
"""

from __future__ import annotations

from task_api.deadlines import answer_within
from task_api.parts import ApiParts
from task_contracts import Health, HealthCheck, HealthStatus
from task_store import SCHEMA_REVISION, LiveOffers, StoreError, Workers


async def readiness(parts: ApiParts) -> Health:
    """Check database, schema, workers and broker. Takes at most 2 s, whatever is wrong."""
    if parts.stop.is_set():
        return Health(status=HealthStatus.STOPPING)
    checks = {**await _database_checks(parts), "broker": _broker(is_connected=parts.signals.is_connected)}
    worst = max((check.status for check in checks.values()), key=list(HealthStatus).index)
    return Health(status=worst, checks=checks)


async def _database_checks(parts: ApiParts) -> dict[str, HealthCheck]:
    try:
        return await answer_within(parts.deadlines.check_seconds, _ask(parts))
    except (StoreError, TimeoutError) as error:
        unknown = HealthCheck(status=HealthStatus.UNAVAILABLE, detail="unknown without the database")
        database = HealthCheck(status=HealthStatus.UNAVAILABLE, detail=str(error))
        return {"database": database, "schema": unknown, "workers": unknown}


async def _ask(parts: ApiParts) -> dict[str, HealthCheck]:
    await parts.database.require_writable()
    schema = _schema(await parts.database.revision())
    if schema.status is HealthStatus.UNAVAILABLE:
        workers = HealthCheck(status=HealthStatus.DEGRADED, detail="unknown without the schema")
    else:
        workers = _workers(parts.settings.queues, await Workers(parts.database).live_offers())
    return {"database": HealthCheck(status=HealthStatus.OK), "schema": schema, "workers": workers}


def _schema(revision: str | None) -> HealthCheck:
    if revision == SCHEMA_REVISION:
        return HealthCheck(status=HealthStatus.OK)
    if revision is None or revision < SCHEMA_REVISION:
        detail = f"at revision {revision or 'none'}, this version needs {SCHEMA_REVISION}: run task-migrate"
        return HealthCheck(status=HealthStatus.UNAVAILABLE, detail=detail)
    return HealthCheck(status=HealthStatus.DEGRADED, detail=f"at revision {revision}, newer than {SCHEMA_REVISION}")


def _workers(queues: tuple[str, ...], live: LiveOffers) -> HealthCheck:
    unserved = [queue for queue in queues if not live.workers_by_queue.get(queue)]
    if not unserved:
        return HealthCheck(status=HealthStatus.OK)
    return HealthCheck(status=HealthStatus.DEGRADED, detail=f"no live worker serves {', '.join(unserved)}")


def _broker(*, is_connected: bool) -> HealthCheck:
    if is_connected:
        return HealthCheck(status=HealthStatus.OK)
    return HealthCheck(status=HealthStatus.DEGRADED, detail="away, or takes nothing; tasks are run from the table")
