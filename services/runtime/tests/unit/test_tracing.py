from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from task_runtime.tracing import names
from task_runtime.tracing.opening import ENDPOINTS, open_tracing
from task_runtime.tracing.otel import OtelTracer, close_provider, make_provider
from task_runtime.tracing.tracer import NO_TRACER, TracedAttempt

TASK = UUID("01a20f53-28ca-7641-997a-aacc58a0ba8f")
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CALLER_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> OtelTracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelTracer(provider)


def _attempt(number: int, traceparent: str | None) -> TracedAttempt:
    return TracedAttempt(TASK, "mail", "default", number, traceparent)


def _trace_id(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def test_a_task_is_sent_in_the_trace_of_its_caller(tracer: OtelTracer, exporter: InMemorySpanExporter) -> None:
    with tracer.sending(["default"], CALLER) as traceparent:
        pass

    (sent,) = exporter.get_finished_spans()
    assert (sent.name, sent.kind, _trace_id(sent)) == ("send default", SpanKind.PRODUCER, CALLER_TRACE)
    assert sent.attributes[names.DESTINATION] == "default"
    assert traceparent == f"00-{CALLER_TRACE}-{sent.context.span_id:016x}-01"


def test_a_batch_over_several_queues_is_one_span(tracer: OtelTracer, exporter: InMemorySpanExporter) -> None:
    with tracer.sending(["default", "mail", "mail"], None):
        pass

    (sent,) = exporter.get_finished_spans()
    assert (sent.name, sent.attributes[names.BATCH_COUNT]) == ("send", 3)


@pytest.mark.parametrize("caller", ["", "\x1b[2J", "00-0-0-00", "x" * 100_000, f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_header_that_is_none_begins_a_trace(tracer: OtelTracer, exporter: InMemorySpanExporter, caller: str) -> None:
    with tracer.sending(["default"], caller) as traceparent:
        assert traceparent is not None

    (sent,) = exporter.get_finished_spans()
    assert sent.parent is None


def test_the_first_attempt_is_a_child_and_a_later_one_has_a_link(
    tracer: OtelTracer, exporter: InMemorySpanExporter
) -> None:
    with tracer.sending(["default"], None) as traceparent:
        pass
    for number in (1, 2):
        with tracer.processing(_attempt(number, traceparent)):
            pass

    sent, first, second = exporter.get_finished_spans()
    assert (first.name, first.kind, first.parent.span_id) == ("process mail", SpanKind.CONSUMER, sent.context.span_id)
    assert first.context.trace_id == sent.context.trace_id
    assert second.parent is None
    assert second.context.trace_id != sent.context.trace_id
    assert [link.context.span_id for link in second.links] == [sent.context.span_id]
    assert (second.attributes[names.ATTEMPT], second.attributes[names.MESSAGE_ID]) == (2, str(TASK))


def test_an_attempt_of_a_task_without_a_trace_begins_one(tracer: OtelTracer, exporter: InMemorySpanExporter) -> None:
    with tracer.processing(_attempt(1, None)) as span:
        assert span.traceparent is not None

    (attempt,) = exporter.get_finished_spans()
    assert (attempt.parent, attempt.links) == (None, ())


def test_a_failed_attempt_says_by_which_code_and_nothing_else(
    tracer: OtelTracer, exporter: InMemorySpanExporter
) -> None:
    with tracer.processing(_attempt(1, None)) as span:
        span.failed("handler_error")

    (attempt,) = exporter.get_finished_spans()
    assert attempt.status.status_code is StatusCode.ERROR
    assert attempt.attributes[names.ERROR_TYPE] == "handler_error"


def test_what_is_raised_while_tasks_are_stored_is_passed_on_and_only_its_class_is_in_the_span(
    tracer: OtelTracer, exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(ValueError, match="a secret"), tracer.sending(["default"], None):
        raise ValueError("a secret")

    (sent,) = exporter.get_finished_spans()
    assert sent.attributes[names.ERROR_TYPE] == "ValueError"
    assert "secret" not in sent.to_json()


class _Away(SpanExporter):
    """A collector that never takes anything, and takes long for it."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.asked = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        if self._error is not None:
            raise self._error
        return SpanExportResult.FAILURE


@pytest.mark.parametrize("error", [None, OSError("no route")])
def test_a_collector_that_is_away_costs_a_counter(error: Exception | None) -> None:
    failures: list[int] = []
    provider = make_provider("test", "1", _Away(error), lambda: failures.append(1))
    tracer = OtelTracer(provider)
    began = time.monotonic()
    for _ in range(10_000):  # more than the queue of the SDK holds
        with tracer.processing(_attempt(1, None)):
            pass
    spent = time.monotonic() - began
    close_provider(provider)

    assert failures
    assert spent < 5


def test_a_collector_that_hangs_does_not_keep_the_process_from_ending() -> None:
    go_on = threading.Event()

    class Hangs(_Away):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            go_on.wait(30)
            return SpanExportResult.FAILURE

    provider = make_provider("test", "1", Hangs(), lambda: None)
    with OtelTracer(provider).processing(_attempt(1, None)):
        pass
    began = time.monotonic()
    close_provider(provider)
    spent = time.monotonic() - began
    go_on.set()

    assert spent < 4


def test_without_a_collector_nothing_is_traced_and_nothing_is_imported() -> None:
    code = (
        "import sys, task_runtime\n"
        "with task_runtime.open_tracing('test', '1', lambda: None) as tracer:\n"
        "    assert tracer is task_runtime.NO_TRACER\n"
        "    with tracer.sending(['default'], 'x') as sent: assert sent is None\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus_client'))]\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": ""})


def test_a_collector_without_the_extra_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINTS[1], "http://127.0.0.1:1")
    monkeypatch.setattr("task_runtime.tracing.opening._PACKAGES", ("opentelemetry.no_such_package",))

    with open_tracing("test", "1", lambda: None) as tracer:
        assert tracer is NO_TRACER


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, ("task-worker", "1.2", None)),
        ({"OTEL_SERVICE_NAME": "reports"}, ("reports", "1.2", None)),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=reports,deployment.environment=test"},
            ("reports", "1.2", "test"),
        ),
    ],
)
def test_spans_name_their_process_unless_the_environment_names_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], shown: tuple[str, str, str | None]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    provider = make_provider("task-worker", "1.2", InMemorySpanExporter(), lambda: None)
    close_provider(provider)

    attributes = provider.resource.attributes
    assert tuple(attributes.get(key) for key in ("service.name", "service.version", "deployment.environment")) == shown
