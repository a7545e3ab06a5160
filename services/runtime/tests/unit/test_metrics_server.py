from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from task_contracts import Scope
from task_runtime import ProcessSettings, shared_startup_warnings
from task_runtime.metrics import server
from task_runtime.metrics.keys import ScopesOf
from task_runtime.metrics.opening import open_metrics
from task_runtime.metrics.server import MetricsServer

URLS = {"database_url": "postgresql://db/tasks", "broker_url": "amqp://mq/"}


KEYS = {b"scraper": frozenset({Scope.METRICS}), b"reader": frozenset({Scope.TASKS_READ})}


@contextlib.asynccontextmanager
async def some_keys() -> AsyncIterator[ScopesOf]:
    """Keys, of which the database knows nothing where a text says so."""

    async def scopes_of(text: bytes) -> frozenset[Scope]:
        if text == b"away":
            raise OSError("no database")
        return KEYS.get(text, frozenset())

    yield scopes_of


def no_keys() -> contextlib.AbstractAsyncContextManager[ScopesOf]:
    raise AssertionError("nobody needs a key")


@pytest.fixture
def guarded_port(registry: CollectorRegistry) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    serving = MetricsServer(listener, registry, some_keys)
    yield listener.getsockname()[1]
    serving.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("known", "A known one.", registry=registry).set(7)
    return registry


@pytest.fixture
def port(registry: CollectorRegistry) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    serving = MetricsServer(listener, registry)
    yield listener.getsockname()[1]
    serving.close()


def _ask(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        received = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
            while chunk := connection.recv(65_536):
                received += chunk
        return received


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_a_scrape_shows_the_registry_as_text(port: int) -> None:
    answer = _ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").decode()

    assert answer.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert answer.endswith("\nknown 7.0\n")


def test_a_scrape_may_ask_for_openmetrics(port: int) -> None:
    answer = _ask(port, b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=9\nX: y\r\n\r\n")

    assert b"Content-Type: application/openmetrics-text; version=1.0.0" in answer
    assert b"X: y" not in answer
    assert answer.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * (64 << 10) + b"\r\n\r\n", b"431"),
    ],
)
def test_a_bad_request_is_refused_and_the_next_is_answered(port: int, sent: bytes, status: bytes) -> None:
    answer = _ask(port, sent)

    # Where more was sent than is read, the system may drop the answer with the connection.
    assert answer.startswith(b"HTTP/1.1 " + status) or (status == b"431" and not answer)
    assert "known 7.0" in _get(port)


def test_a_head_has_no_body(port: int) -> None:
    assert _ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith(b"Connection: close\r\n\r\n")


def test_silent_callers_are_closed_and_make_room(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 0.5)
    listener = socket.create_server(("127.0.0.1", 0))
    serving, port = MetricsServer(listener, registry), listener.getsockname()[1]
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for _ in range(server.CONNECTIONS_MAX)
        ]
        with contextlib.suppress(ConnectionError):
            for connection in silent:
                assert connection.recv(1) == b""

        assert "known 7.0" in _get(port)
    serving.close()


def test_it_answers_while_the_main_thread_is_blocked(port: int) -> None:
    answered: list[float] = []

    def scrape() -> None:
        began = time.monotonic()
        _get(port)
        answered.append(time.monotonic() - began)

    scraping = threading.Thread(target=scrape)
    scraping.start()
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass  # what a handler does that never awaits
    scraping.join(5)

    assert answered
    assert answered[0] < 1


def test_without_a_port_there_are_no_metrics() -> None:
    with open_metrics(ProcessSettings(**URLS), "test", "1", no_keys) as metrics:
        assert metrics is None


def test_the_port_is_free_again_after_the_block() -> None:
    for _ in range(2):
        with open_metrics(ProcessSettings(**URLS, metrics_port=0), "test", "1", no_keys) as metrics:
            assert metrics is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        with open_metrics(ProcessSettings(**URLS, metrics_port=port), "test", "1", no_keys):
            assert 'task_service_build_info{process="test"' in _get(port)


def test_a_port_that_is_taken_is_one_warning(capsys: pytest.CaptureFixture[str], untouched_logging: None) -> None:
    from task_runtime import configure_logging

    configure_logging("INFO", "json")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with open_metrics(ProcessSettings(**URLS, metrics_port=port), "test", "1", no_keys) as metrics:
            assert metrics is None

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "metrics_not_served"
    assert json.loads(line)["port"] == port


def test_an_empty_port_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_METRICS_PORT", "")

    assert ProcessSettings(**URLS).metrics_port is None


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Authorization: Bearer scraper", b"200"),
        ("authorization:bearer scraper", b"200"),
        ("Authorization: Bearer reader", b"403"),
        ("Authorization: Bearer nobody", b"401"),
        ("Authorization: Basic scraper", b"401"),
        ("Authorization: Bearer", b"401"),
        ("X: y", b"401"),
        ("Authorization: Bearer away", b"503"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_where_keys_are_wanted_only_a_key_for_metrics_opens_the_page(
    guarded_port: int, header: str, status: bytes, method: str
) -> None:
    answer = _ask(guarded_port, f"{method} /metrics HTTP/1.1\r\n{header}\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"known 7.0" in answer) is (status == b"200" and method == "GET")
    assert (b"WWW-Authenticate: Bearer\r\n" in answer) is (status == b"401")
    assert (b"Retry-After: 2\r\n" in answer) is (status == b"503")


def test_keys_are_wanted_where_the_setting_says_so(registry: CollectorRegistry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open_metrics(ProcessSettings(**URLS, metrics_port=port, metrics_auth="keys"), "test", "1", some_keys):
        assert _ask(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("given", "is_warned"),
    [
        ({"metrics_port": 0}, False),
        ({"metrics_host": "0.0.0.0"}, False),
        ({"metrics_port": 0, "metrics_host": "0.0.0.0"}, True),
        ({"metrics_port": 0, "metrics_host": "0.0.0.0", "metrics_auth": ""}, True),
        ({"metrics_port": 0, "metrics_host": "0.0.0.0", "metrics_auth": "off"}, False),
        ({"metrics_port": 0, "metrics_host": "0.0.0.0", "metrics_auth": "keys"}, False),
    ],
)
def test_metrics_that_others_reach_without_a_key_are_warned_of(given: dict[str, Any], is_warned: bool) -> None:
    warnings = shared_startup_warnings(ProcessSettings(**URLS, **given))

    assert any("TASK_METRICS_AUTH" in line for line in warnings) is is_warned
