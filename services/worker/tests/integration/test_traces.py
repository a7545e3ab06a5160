"""Each attempt is one span: a child of where its task was stored, or with a link to there; and nothing else is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from task_contracts.testing import a_create
from task_runtime.tracing.otel import OtelTracer
from task_store import NewTask, Tasks
from task_worker import handler

Start = Callable[..., Awaitable[Any]]
Ended = Callable[..., Awaitable[dict[str, Any]]]

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STORED = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> OtelTracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelTracer(provider)


async def test_attempts_are_spans_the_first_a_child_and_the_second_with_a_link(
    start: Start,
    tasks: Tasks,
    ended: Ended,
    wake: Callable[[], None],
    exporter: InMemorySpanExporter,
    tracer: OtelTracer,
) -> None:
    @handler("fails.once")
    async def run() -> None:
        if not exporter.get_finished_spans():
            raise ValueError("a secret")

    await start(run, tracer=tracer)
    task = await tasks.create(NewTask(a_create(), "fails.once", STORED))
    wake()
    await ended(task.id)

    first, second = exporter.get_finished_spans()
    assert (first.name, f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (
        "process fails.once",
        TRACE,
        SPAN,
    )
    assert (first.attributes["error.type"], first.status.is_ok) == ("handler_error", False)
    assert "secret" not in first.to_json()
    assert second.parent is None
    assert [f"{link.context.span_id:016x}" for link in second.links] == [SPAN]
    assert "error.type" not in second.attributes


@pytest.mark.parametrize("mode", ["loop", "thread"])
async def test_code_of_a_handler_runs_in_the_span_of_its_attempt(
    start: Start,
    tasks: Tasks,
    ended: Ended,
    wake: Callable[[], None],
    exporter: InMemorySpanExporter,
    tracer: OtelTracer,
    mode: str,
) -> None:
    @handler("loop")
    async def on_loop() -> str:
        return str(trace.get_current_span().get_span_context().span_id)

    @handler("thread")
    def in_thread() -> str:
        return str(trace.get_current_span().get_span_context().span_id)

    await start(on_loop, in_thread, tracer=tracer)
    task = await tasks.create(NewTask(a_create(), mode, STORED))
    wake()
    row = await ended(task.id)

    (span,) = exporter.get_finished_spans()
    assert row["result"] == str(span.context.span_id)
