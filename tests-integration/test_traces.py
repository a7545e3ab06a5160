"""One trace from a caller to a task, its attempt and the task of its handler; and a collector that is away."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.pages import Page
from harness.waiting import eventually
from harness.world import World

CALLER_TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{CALLER_TRACE}-b7ad6b7169203331-01"


@dataclass(frozen=True)
class CollectedSpan:
    """A span, with the name of the process that made it."""

    span: Any
    service: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.span, name)


@dataclass
class Collector:
    """Takes spans as a collector of OpenTelemetry does, over HTTP."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.ParseFromString(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            for resource in sent.resource_spans:
                (service,) = [
                    one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
                ]
                for scope in resource.scope_spans:
                    collected.spans.extend(CollectedSpan(span, service) for span in scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        collected.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield collected
        server.shutdown()


def _settings(url: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", "TASK_METRICS_PORT": "0"}


@pytest.mark.parametrize("type_", ["step.follow", "step.follow.thread", "step.follow.process"])
async def test_a_request_a_task_and_its_follow_up_are_one_trace(world: World, collector: Collector, type_: str) -> None:
    api = await world.api(**_settings(collector.url))
    await world.worker(**_settings(collector.url), TASK_WORKER_API_URL=api.url)
    answer = await api.http.post(
        "/api/v1/tasks", json={"type": type_, "name": "a task"}, headers={"traceparent": CALLER}
    )
    assert answer.status_code == 201

    await eventually(lambda: len(collector.spans) >= 4, "both processes have sent their spans")

    (first,), (second,) = collector.named(f"process {type_}"), collector.named("process step.noop")
    sent = {span.span_id: span for span in collector.named("send default")}
    assert {span.trace_id.hex() for span in collector.spans} == {CALLER_TRACE}
    assert sent[first.parent_span_id].parent_span_id.hex() == CALLER.split("-")[2]
    assert sent[second.parent_span_id].parent_span_id == first.span_id
    assert len(collector.spans) == 4, "never a span around a loop"


async def test_without_a_collector_no_trace_is_stored(world: World) -> None:
    api = await world.api()
    answer = await api.http.post("/api/v1/tasks", json={"name": "a task"}, headers={"traceparent": CALLER})

    assert answer.status_code == 201
    assert [row["traceparent"] for row in await world.tables.rows("SELECT traceparent FROM tasks")] == [None]


async def test_a_collector_that_is_away_costs_one_line_and_a_counter(world: World) -> None:
    away = _settings("http://127.0.0.1:9") | {"OTEL_BSP_EXPORT_TIMEOUT": "500", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    api, worker = await world.api(**away), await world.worker(**away)
    await api.all_complete(await api.create_all([{"payload": {"n": n}} for n in range(20)]))

    await worker.logged("spans_lost")
    url = (await worker.logged("metrics_listening"))["url"]
    async with httpx2.AsyncClient() as client:
        text = (await client.get(url)).text
    assert float(text.split("\ntask_service_trace_export_failures_total ")[1].split()[0]) >= 1


async def test_the_page_shows_the_trace_of_a_task_and_its_follow_up(
    world: World, collector: Collector, tmp_path: Path
) -> None:
    page = Page.read("metrics.md")
    (code,), (shown,) = page.blocks("python"), page.blocks("text")
    handlers = tmp_path / "reports.py"
    handlers.write_text(code)
    api = await world.api(**_settings(collector.url))
    await world.worker(**_settings(collector.url), TASK_WORKER_API_URL=api.url, TASK_WORKER_HANDLERS=str(handlers))

    await api.create(type="report.build")
    await eventually(lambda: len(collector.spans) == 4, "all is traced")

    assert "".join(_as_text(collector.spans)) == shown


def _as_text(spans: list[Any], parent: bytes = b"", indent: str = "") -> Iterator[str]:
    """Yield a line for each span below one, each followed by those below it."""
    for span in (span for span in spans if span.parent_span_id == parent):
        words = [span.name, Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"), span.service]
        numbers = {one.key.split(".", 1)[1]: one.value.int_value for one in span.attributes if one.value.int_value}
        words += [f"{name.removeprefix('task.')}={number}" for name, number in numbers.items()]
        yield f"{indent}{'  '.join(words)}\n"
        yield from _as_text(spans, span.span_id, indent + "  ")
