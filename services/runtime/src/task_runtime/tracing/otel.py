"""Traces by OpenTelemetry. Imported only where tracing is on, since its packages come with the extra `otel`.

**Invariants**

- Spans are exported by a thread of the SDK, from a queue that has a bound. A collector that is away costs a counter and
  one line in the log: nobody waits for it, and no task does.
- What a caller sends as `traceparent` is read by the SDK's propagator, which ignores what is none.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from task_runtime.logs import get_logger
from task_runtime.tracing import names
from task_runtime.tracing.tracer import AttemptSpan, TracedAttempt

_log = get_logger(__name__)

_HEADER = "traceparent"
_CLOSE_SECONDS = 2.0
_propagator = TraceContextTextMapPropagator()


class CountingExporter(SpanExporter):
    """Exports by another exporter, and tells how often that failed. Called in the SDK's thread."""

    def __init__(self, exporter: SpanExporter, on_failed: Callable[[], None]) -> None:
        self._exporter = exporter
        self._on_failed = on_failed
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; those that are not taken are lost."""
        try:
            result, reason = self._exporter.export(spans), "not taken"
        except Exception as error:  # noqa: BLE001 # whatever a library raises: no span is worth a thread
            result, reason = SpanExportResult.FAILURE, type(error).__name__
        failed = result is not SpanExportResult.SUCCESS
        if failed:
            self._on_failed()
        if failed and not self._is_away:
            _log.warning("spans_lost", reason=reason)
        self._is_away = failed
        return result

    def shutdown(self) -> None:
        """Close the other exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what the other exporter still holds."""
        return self._exporter.force_flush(timeout_millis)


class OtelTracer:
    """A `Tracer` that makes spans of a provider."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer(names.SCOPE)

    @contextmanager
    def sending(self, queues: Iterable[str], caller: str | None) -> Iterator[str | None]:
        """Trace the block that stores tasks, in the trace of the caller where there is one."""
        by_queue = Counter(queues)
        attributes: dict[str, AttributeValue] = {**_operation(names.SEND), names.BATCH_COUNT: by_queue.total()}
        if len(by_queue) == 1:
            attributes[names.DESTINATION] = next(iter(by_queue))
        name, parent = names.send_span(frozenset(by_queue)), _sender(caller)
        # What went wrong may hold what the caller sent: its class says enough.
        with self._tracer.start_as_current_span(
            name, parent, SpanKind.PRODUCER, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield _traceparent(span)
            except Exception as error:
                _fail(span, type(error).__name__)
                raise

    @contextmanager
    def processing(self, attempt: TracedAttempt) -> Iterator[AttemptSpan]:
        """Trace the block that runs an attempt."""
        stored = _read(attempt.traceparent)
        origin = trace.get_current_span(stored).get_span_context()
        is_child = attempt.attempt == 1 and origin.is_valid
        attributes: dict[str, AttributeValue] = {
            **_operation(names.PROCESS),
            names.DESTINATION: attempt.queue,
            names.MESSAGE_ID: str(attempt.task_id),
            names.TASK_TYPE: attempt.type,
            names.ATTEMPT: attempt.attempt,
        }
        with self._tracer.start_as_current_span(
            names.process_span(attempt.type),
            stored if is_child else Context(),
            SpanKind.CONSUMER,
            attributes,
            [Link(origin)] if origin.is_valid and not is_child else (),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _OtelAttempt(span)


class _OtelAttempt:
    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = _traceparent(span)

    def failed(self, code: str) -> None:
        _fail(self._span, code)


def make_provider(process: str, version: str, exporter: SpanExporter, on_failed: Callable[[], None]) -> TracerProvider:
    """Return a provider that exports in the background. OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME count."""
    named: Mapping[str, AttributeValue] = {SERVICE_NAME: process, SERVICE_VERSION: version}
    resource = Resource.create(named).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(CountingExporter(exporter, on_failed)))
    return provider


def close_provider(provider: TracerProvider) -> None:
    """Export what is left, for two seconds at most. What a collector does not take by then is lost."""
    closing = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)


def _operation(name: str) -> dict[str, AttributeValue]:
    return {names.SYSTEM: names.SYSTEM_NAME, names.OPERATION_NAME: name, names.OPERATION_TYPE: name}


def _sender(caller: str | None) -> Context:
    """Return the context of whoever sends: of a span of this process (an instrumented server), else of the header."""
    current = contexts.get_current()
    return current if trace.get_current_span(current).get_span_context().is_valid else _read(caller)


def _read(traceparent: str | None) -> Context:
    return _propagator.extract({} if traceparent is None else {_HEADER: traceparent}, Context())


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(_HEADER)


def _fail(span: Span, code: str) -> None:
    span.set_attribute(names.ERROR_TYPE, code)
    span.set_status(StatusCode.ERROR)
