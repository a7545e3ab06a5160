"""`http.request` without a network: its payload, and what it refuses. The rest is in the integration tests."""

from __future__ import annotations

import socket
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from task_contracts.testing import assert_linear
from task_worker import Fail, Retry
from task_worker.builtin import HttpHosts
from task_worker.builtin.http_payload import HttpRequest
from task_worker.builtin.http_request import http_request
from task_worker.handlers import Handler, InvalidPayloadError, handler_of

LISTED = "api.example.org, *.example.net, 127.0.0.1, 10.0.0.0/8"


def the_handler() -> Handler:
    found = handler_of(http_request(HttpHosts.parse(LISTED)))
    assert found is not None
    return found


def read(payload: dict[str, Any]) -> HttpRequest:
    """Return the payload as the worker reads it."""
    try:
        arguments = the_handler().arguments(payload, None)  # type: ignore[arg-type] # it takes no context
    except InvalidPayloadError as error:
        raise error.reason from error
    request: HttpRequest = arguments[0]
    return request


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every lookup and connection fail."""

    def refuse(*values: object, **named: object) -> None:
        raise AssertionError(f"the network was used: {values} {named}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", refuse)


def test_a_url_is_enough() -> None:
    request = read({"url": "https://api.example.org/path?query#fragment"})

    assert (request.method, request.headers, request.timeout_seconds) == ("GET", {}, 30)
    assert "body" not in request.model_fields_set


@pytest.mark.parametrize("body", [None, False, 0, "", [], {"a": [1.5, "é"]}])
def test_any_json_is_a_body_null_too(body: Any) -> None:
    request = read({"url": "https://api.example.org", "method": "POST", "json": body})

    assert request.body == body
    assert "body" in request.model_fields_set


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({}, "url"),
        ({"url": 1}, "url"),
        ({"url": ""}, "url"),
        ({"url": "api.example.org"}, "url"),
        ({"url": "//api.example.org/"}, "url"),
        ({"url": "http:api.example.org"}, "url"),
        ({"url": "http:///path"}, "url"),
        ({"url": "ftp://api.example.org/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "gopher://api.example.org/"}, "url"),
        ({"url": "https://user@api.example.org/"}, "url"),
        ({"url": "https://user:secret@api.example.org/"}, "url"),
        ({"url": "https://api.example.org\\@evil.example/"}, "url"),
        ({"url": "https://api.example.org:80@evil.example/"}, "url"),
        ({"url": "https://api.example.org:port/"}, "url"),
        ({"url": "https://[::1/"}, "url"),
        ({"url": "https://[::1]x/"}, "url"),
        ({"url": "https://010.0.0.1/"}, "url"),
        ({"url": "https://api.example.org/\n"}, "url"),
        ({"url": "https://api.example.org/\r\nX: y"}, "url"),
        ({"url": "https://api.example.org/" + "a" * 8_000}, "url"),
        ({"method": "get"}, "method"),
        ({"method": "CONNECT"}, "method"),
        ({"method": "TRACE"}, "method"),
        ({"headers": {"Host": "evil.example"}}, "headers"),
        ({"headers": {"Authorization": "a", "authorization": "b"}}, "headers"),
        ({"headers": {"content-LENGTH": "0"}}, "headers"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "headers"),
        ({"headers": {"Connection": "keep-alive"}}, "headers"),
        ({"headers": {"Keep-Alive": "1"}}, "headers"),
        ({"headers": {"Proxy-Authorization": "x"}}, "headers"),
        ({"headers": {"TE": "trailers"}}, "headers"),
        ({"headers": {"Trailer": "x"}}, "headers"),
        ({"headers": {"Upgrade": "websocket"}}, "headers"),
        ({"headers": {"Expect": "100-continue"}}, "headers"),
        ({"headers": {"Accept-Encoding": "gzip"}}, "headers"),
        ({"headers": {"": "x"}}, "headers"),
        ({"headers": {"X Y": "x"}}, "headers"),
        ({"headers": {"X\r\nHost": "x"}}, "headers"),
        ({"headers": {"X:": "x"}}, "headers"),
        ({"headers": {"X": "a\r\nHost: evil.example"}}, "headers"),
        ({"headers": {"X": "a\n"}}, "headers"),
        ({"headers": {"X": " a"}}, "headers"),
        ({"headers": {"X": "é"}}, "headers"),
        ({"headers": {"X": 1}}, "headers"),
        ({"headers": {"X": "a" * 8_001}}, "headers"),
        ({"headers": {"X" * 101: "a"}}, "headers"),
        ({"headers": {f"X-{number}": "a" for number in range(51)}}, "headers"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": 301}, "timeout_seconds"),
        ({"timeout_seconds": "5"}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"body": {}}, "body"),
        ({"follow_redirects": True}, "follow_redirects"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_where_it_does_not(payload: dict[str, Any], place: str) -> None:
    complete = payload if place == "url" else {"url": "https://api.example.org", **payload}

    with pytest.raises(ValidationError) as caught:
        read(complete)

    problem = caught.value.errors()[0]
    assert problem["loc"][0] == place
    assert "secret" not in problem["msg"]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    "url",
    [
        "http://other.example.org/",
        "http://api.example.org:8080/",
        "http://api.example.org:0/",
        "http://api.example.org:99999/",
        "https://api.example.org.evil.example/",
        "https://example.net/",
        "http://api.example.org./",
        "http://api.example.org%00.evil.example/",
        "http://api.example.org\\.evil.example/",
        "http://api%2eexample.org/",
        "http://10.0.0.1/",  # a listed network lists no host
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://0/",
        "http://0.0.0.0/",
        "http://127.1/",
        "http://127.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0X7F.0x0.0x0.0x1/",
        "http://0177.1/",
        "http://127.0.0.1./",
        "http://127.0.0.1.:80/",
        "http://%31%32%37.0.0.1/",
        "http://127%2e0.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::FFFF:7F00:1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[fe80::1%25eth0]/",
        "http://localhost/",
        "http://LOCALHOST/",
        "http://bücher.example/",
        "http://xn--bcher-kva.example/",
        "HTTP://Evil.EXAMPLE/",
    ],
)
async def test_a_host_that_is_not_listed_is_refused_however_it_is_spelt(url: str) -> None:
    with pytest.raises(Fail, match=r"is not a host that http\.request may call$") as caught:
        await http_request(HttpHosts.parse(LISTED))(read({"url": url + "?token=secret"}))

    assert caught.value.code == "host_not_allowed"
    assert "secret" not in caught.value.message


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("url", ["http://\uff11\uff12\uff17.0.0.1/", "http://\u24dbocalhost/"])
def test_letters_that_stand_for_others_are_no_url(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        read({"url": url})


@pytest.mark.parametrize(
    "url",
    ["HTTP://API.Example.ORG/", "https://api.example.org:443/", "http://api。example。org/", "http://127。0。0。1/"],
)
async def test_a_listed_host_is_one_however_it_is_spelt(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[httpx2.Request] = []

    async def answer(_: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(204)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("93.184.216.34", 0))])
    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", answer)

    await http_request(HttpHosts.parse(LISTED))(read({"url": url}))

    name = "127.0.0.1" if "127" in url else "api.example.org"
    assert asked[0].url.host == ("127.0.0.1" if "127" in url else "93.184.216.34")
    assert asked[0].headers["host"].partition(":")[0] == name
    assert asked[0].extensions["sni_hostname"] == name


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%2"],
        ["93.184.216.34", "192.168.0.1"],
        ["192.168.0.1", "93.184.216.34"],
    ],
)
async def test_a_listed_name_that_leads_elsewhere_is_refused(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (one, 0)) for one in addresses])

    with pytest.raises(Fail, match=r"^api\.example\.org leads to an address") as caught:
        await http_request(HttpHosts.parse(LISTED))(read({"url": "http://api.example.org/"}))

    assert caught.value.code == "host_not_allowed"


async def test_a_name_is_resolved_once_and_the_connection_goes_where_that_led(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"])
    connected: list[str] = []

    async def connect(**named: Any) -> None:
        connected.append(named["host"])
        raise OSError("the test goes no further")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (next(answers), 0))])
    monkeypatch.setattr("anyio.connect_tcp", lambda **named: connect(host=named["remote_host"]))

    with pytest.raises(Retry, match=r"cannot connect: the test goes no further$"):
        await http_request(HttpHosts.parse("api.example.org, 127.0.0.1"))(read({"url": "http://api.example.org/"}))

    assert connected == ["93.184.216.34"]
    assert next(answers) == "127.0.0.1"


def test_the_schema_of_the_payload_says_what_it_takes() -> None:
    schema = the_handler().payload_schema()

    assert schema is not None
    assert schema["required"] == ["url"]
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["url", "method", "headers", "json", "timeout_seconds"]
    assert schema["properties"]["url"]["format"] == "uri"
    assert schema["properties"]["headers"]["maxProperties"] == 50
    assert schema["properties"]["timeout_seconds"]["maximum"] == 300


@pytest.mark.parametrize("field", ["url", "method", "headers", "timeout_seconds"])
def test_no_payload_takes_more_than_linear_time(field: str) -> None:
    def read_field(text: str) -> None:
        given = {text: text} if field == "headers" else text
        HttpRequest.model_validate({"url": "http://api.example.org", field: given})

    assert_linear(read_field)
