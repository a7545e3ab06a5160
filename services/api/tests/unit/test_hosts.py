from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from task_api.app import create_app
from task_api.parts import ApiParts
from task_contracts import Problem

Ask = Callable[..., Any]
PATHS = ["/health/live", "/health/ready", "/docs", "/assets/icon.svg", "/openapi.json", "/api/v1/tasks", "/nothing"]


@pytest.fixture
def ask(parts: ApiParts) -> Ask:
    """Ask with these values of `Host`, none or more; any setting can be given."""

    async def asked(*hosts: bytes, path: str = "/health/live", method: str = "GET", **given: Any) -> httpx2.Response:
        app = create_app(replace(parts, settings=parts.settings.model_copy(update=given)))
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", host) for host in hosts],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(scope, receive, send)  # type: ignore[arg-type]
        body = b"".join(message.get("body", b"") for message in sent)
        return httpx2.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)

    return asked


@pytest.mark.parametrize(
    "host",
    [
        *[b"127.0.0.1", b"127.0.0.1:9000", b"203.0.113.7:80", b"0.0.0.0:9000", b"[::1]", b"[::1]:9000"],
        *[b"[2001:DB8::7]:80", b"[::ffff:127.0.0.1]", b"localhost", b"LocalHost:9000", b"localhost.", b"localhost:"],
        *[b"api", b"api:9000", b"task-api:9000", b"my_box"],
    ],
)
async def test_addresses_and_names_without_a_dot_need_no_setting(ask: Ask, host: bytes) -> None:
    assert (await ask(host)).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *[b"evil.example", b"evil.example:9000", b"EVIL.EXAMPLE", b"evil.example.", b"127.0.0.1.evil.example"],
        *[b"localhost.evil.example", b"localhost.localdomain", b"127.0.0.256", b"127.1", b"0x7f.0.0.1"],
        *[b"x.api.example.org", b"api.example.org.evil.example"],
    ],
)
async def test_a_dotted_name_that_is_not_listed_is_421(ask: Ask, host: bytes) -> None:
    answer = await ask(host, allowed_hosts=("api.example.org",))

    assert answer.status_code == 421
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    problem = Problem.model_validate_json(answer.content)
    assert (problem.code, problem.title) == ("host_not_allowed", "Misdirected Request")
    assert "TASK_API_ALLOWED_HOSTS" in problem.detail
    assert host not in answer.content, "nothing that was sent comes back"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_no_call_is_left_out(ask: Ask, path: str, method: str) -> None:
    assert (await ask(b"evil.example", path=path, method=method)).status_code == 421


@pytest.mark.parametrize("host", [b"api.example.org", b"API.Example.ORG:8080", b"api.example.org.", b"b.example.org"])
async def test_a_listed_name_is_taken_in_any_case_and_with_any_port(ask: Ask, host: bytes) -> None:
    assert (await ask(host, allowed_hosts=("api.example.org", "b.example.org"))).status_code == 200


async def test_the_name_that_the_api_listens_on_is_one_of_its_own(ask: Ask) -> None:
    assert (await ask(b"tasks.example.org:9000", host="Tasks.example.org")).status_code == 200


@pytest.mark.parametrize("hosts", [(), (b"127.0.0.1", b"127.0.0.1"), (b"localhost", b"evil.example")], ids=len)
async def test_none_and_two_are_400(ask: Ask, hosts: tuple[bytes, ...]) -> None:
    answer = await ask(*hosts)

    assert answer.status_code == 400
    assert Problem.model_validate_json(answer.content).code == "validation_error"


@pytest.mark.parametrize(
    "host",
    [
        *[b"", b" ", b":9000", b".", b"..", b"api..org", b".org", b"a b", b"a,b", b"user@127.0.0.1", b"127.0.0.1:x"],
        *[b"::1", b"[::1", b"[]", b"[evil.example]", b"[127.0.0.1]", b"http://127.0.0.1", b"127.0.0.1/", b"\xff"],
        *[b"caf\xc3\xa9", b"localhost\x00", b"%31"],
    ],
)
async def test_what_is_no_host_is_400(ask: Ask, host: bytes) -> None:
    assert (await ask(host)).status_code == 400
