"""Opens the tracing of a process, where the environment names a collector."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from task_runtime.logs import get_logger
from task_runtime.tracing.tracer import NO_TRACER, Tracer

_log = get_logger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The variables of OpenTelemetry that name a collector: its exporter reads them itself, and its other OTEL_*."""
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_NOISY = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.trace.export")


@contextmanager
def open_tracing(process: str, version: str, on_failed: Callable[[], None]) -> Iterator[Tracer]:
    """Trace this process as long as the block runs, where a collector is named and the extra `otel` is installed.

    `on_failed` is told, in another thread, of each batch of spans that the collector did not take.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield NO_TRACER
        return
    if not _is_installed():
        _log.warning("tracing_not_installed", reason="a collector is named, and the extra `otel` is not installed")
        yield NO_TRACER
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from task_runtime.tracing.otel import OtelTracer, close_provider, make_provider

    for name in _NOISY:  # it would log each batch with a traceback: here it is counted, and told of once
        logging.getLogger(name).setLevel(logging.CRITICAL)
    provider = make_provider(process, version, OTLPSpanExporter(), on_failed)
    trace.set_tracer_provider(provider)  # spans of handlers are exported too; nothing where there is one already
    try:
        yield OtelTracer(provider)
    finally:
        close_provider(provider)


def _is_installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in _PACKAGES)
    except ModuleNotFoundError:  # not even the package that it is a part of
        return False
