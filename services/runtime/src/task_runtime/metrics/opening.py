"""Opens the metrics of a process, where its settings name a port for them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from task_runtime.logs import get_logger
from task_runtime.metrics.keys import OpenKeys
from task_runtime.settings import ProcessSettings

if TYPE_CHECKING:
    from task_runtime.metrics.counts import Metrics

_log = get_logger(__name__)


@contextmanager
def open_metrics(
    settings: ProcessSettings, process: str, version: str, open_keys: OpenKeys
) -> Iterator[Metrics | None]:
    """Serve the metrics of this process as long as the block runs.

    None where TASK_METRICS_PORT is empty, or where the port cannot be had: that is one warning, and the process goes
    on. Then nothing is counted, and nothing of it is imported. With TASK_METRICS_AUTH=keys a caller needs a key with
    the scope `metrics`, which is looked up by `open_keys`.
    """
    listener = None if settings.metrics_port is None else _listen(settings.metrics_host, settings.metrics_port)
    if listener is None:
        yield None
        return
    from task_runtime.metrics.counts import Metrics
    from task_runtime.metrics.server import MetricsServer

    metrics = Metrics(process, version)
    server = MetricsServer(listener, metrics.registry, open_keys if settings.has_metrics_keys else None)
    try:
        host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
        _log.info("metrics_listening", url=f"http://{host}:{listener.getsockname()[1]}/metrics")
        yield metrics
    finally:
        server.close()


def _listen(host: str, port: int) -> socket.socket | None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        _log.warning("metrics_not_served", host=host, port=port, reason=error.strerror or str(error))
        return None
