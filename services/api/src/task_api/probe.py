"""Asks the API on this machine whether it is ready: for a container's health check."""

from __future__ import annotations

from task_api.settings import ApiSettings
from task_client import TaskClient, TaskClientError

_SECONDS = 3.0
"""More than a readiness check takes at most."""

_HOST_BY_WILDCARD = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # names them; nothing is bound here


def probe(settings: ApiSettings) -> tuple[bool, str]:
    """Return whether the API with these settings is ready, and one line with its status and what is wrong."""
    with TaskClient(_url(settings), timeout_seconds=_SECONDS) as client:
        try:
            health = client.ready()
        except TaskClientError as error:
            return False, f"unreachable: {error}"
    details = [f"{name}: {check.detail}" for name, check in health.checks.items() if check.detail]
    return health.is_ready, "; ".join([health.status, *details])


def _url(settings: ApiSettings) -> str:
    host = _HOST_BY_WILDCARD.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
