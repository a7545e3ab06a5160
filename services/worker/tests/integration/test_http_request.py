"""`http.request` against real servers on loopback, which are listed for that; and once by a whole worker."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import ssl
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from task_contracts import BackOff, Task
from task_runtime import configure_logging
from task_worker import Fail, Retry
from task_worker.attempt.result import result_text
from task_worker.builtin import HttpHosts
from task_worker.builtin.http_payload import HttpRequest
from task_worker.builtin.http_request import http_request
from task_worker.builtin.http_response import BODY_BYTES
from task_worker.timings import AttemptTimings, WorkerTimings

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Until = Callable[..., Awaitable[Any]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Sends the same answer to each request, and keeps the requests."""

    def __init__(self, answer: bytes | Script, tls: ssl.SSLContext | None) -> None:
        self._answer = answer
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = asyncio.Event()
        """Set once a connection has ended."""

    async def start(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, host, port, ssl=self._tls)
        self.host = host
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/"

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-le")), 0)
            self.requests.append(head + await reader.readexactly(length))
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left.set()
            writer.close()


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server: `await serve(answer)`, with the bytes to send or a function that writes them."""
    servers: list[Server] = []

    async def one(
        answer: bytes | Script = OK, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> Server:
        server = Server(answer, tls)
        await server.start(host, port)
        servers.append(server)
        return server

    yield one
    for server in servers:
        await server.aclose()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Resolve names as the test says: each name has a list of answers, one for each lookup."""
    answers: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *values: Any, **named: Any) -> Any:
        if host not in answers:
            return real(host, port, *values, **named)
        found = answers[host].pop(0)  # the test fails if it runs out of answers
        return [entry for one in found for entry in real(one, port, *values, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


async def call(
    server: Server, /, *, listed: str | None = None, connect_seconds: float = 5.0, **payload: Any
) -> dict[str, Any]:
    """Call a server, the only listed host unless `listed` says otherwise; return the result as it is stored."""
    hosts = HttpHosts.parse(listed or f"{server.host}:{server.port}")
    request = HttpRequest.model_validate_json(json.dumps({"url": server.url, **payload}))
    result: dict[str, Any] = json.loads(
        result_text(await http_request(hosts, connect_seconds=connect_seconds)(request)) or ""
    )
    return result


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def test_a_request_is_sent_as_asked_and_its_answer_is_the_result(serve: Serve) -> None:
    server = await serve(answer("201 Created", "Content-Type: application/json", "X-Id: 7", body=b'{"id": 7}'))

    result = await call(
        server,
        url=f"{server.url}a%20b/./c/../d?q=1#part",
        method="PUT",
        headers={"Authorization": "Bearer x", "user-agent": "mine", "X-Empty": ""},
        json={"amount": 12.5, "text": "é"},
    )

    assert result == {
        "status": 201,
        "headers": {"content-type": "application/json", "x-id": "7", "content-length": "9"},
        "body": {"id": 7},
        "is_truncated": False,
    }
    head, _, body = server.requests[0].decode().partition("\r\n\r\n")
    request_line, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert request_line == "PUT /a%20b/d?q=1 HTTP/1.1"
    assert json.loads(body) == {"amount": 12.5, "text": "é"}
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "*/*",
        "user-agent": "mine",
        "content-type": "application/json",
        "authorization": "bearer x",
        "x-empty": "",
        "accept-encoding": "identity",
        "connection": "close",
        "content-length": str(len(body.encode())),
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_every_method_works_without_a_body(serve: Serve, method: str) -> None:
    server = await serve(answer("200 OK") if method != "HEAD" else b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")

    result = await call(server, method=method)

    assert (result["status"], result["body"]) == (200, "")
    assert server.requests[0].startswith(f"{method} / HTTP/1.1\r\n".encode())
    assert server.requests[0].endswith(b"\r\n\r\n")


async def test_a_name_that_leads_elsewhere_a_moment_later_is_not_asked_again(
    serve: Serve, names: dict[str, list[list[str]]]
) -> None:
    allowed = await serve()
    private = await serve(host="127.0.0.2", port=allowed.port)
    names["rebinding.example"] = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]]

    result = await call(
        allowed,
        url=f"http://rebinding.example:{allowed.port}/",
        listed=f"rebinding.example:{allowed.port}, 127.0.0.1/32",
    )

    assert result["body"] == "ok"
    assert f"\r\nHost: rebinding.example:{allowed.port}\r\n".encode() in allowed.requests[0]
    assert private.connections == 0
    assert names["rebinding.example"] == [["127.0.0.2"], ["127.0.0.2"]]


@pytest.mark.parametrize("order", [["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "127.0.0.1"]])
async def test_one_address_that_is_not_allowed_is_enough_to_refuse_a_name(
    serve: Serve, names: dict[str, list[list[str]]], order: list[str]
) -> None:
    server = await serve()
    names["both.example"] = [order]

    with pytest.raises(Fail, match="leads to an address") as caught:
        await call(
            server, url=f"http://both.example:{server.port}/", listed=f"both.example:{server.port}, 127.0.0.1/32"
        )

    assert caught.value.code == "host_not_allowed"
    assert "127.0.0" not in caught.value.message
    assert server.connections == 0


async def test_a_listed_network_lets_names_lead_there_and_lists_no_address(
    serve: Serve, names: dict[str, list[list[str]]]
) -> None:
    server = await serve()
    names["inner.example"] = [["127.0.0.1"]]
    listed = f"inner.example:{server.port}, 127.0.0.0/8"

    assert (await call(server, url=f"http://inner.example:{server.port}/", listed=listed))["status"] == 200
    with pytest.raises(Fail, match=f"^127.0.0.1:{server.port} is not a host"):
        await call(server, listed=listed)

    assert server.connections == 1


async def test_the_next_address_is_tried_where_one_cannot_be_connected_to(
    serve: Serve, names: dict[str, list[list[str]]]
) -> None:
    server = await serve()
    names["several.example"] = [["127.0.0.3", "127.0.0.1"]]

    result = await call(
        server,
        url=f"http://several.example:{server.port}/",
        method="POST",
        json={"a": 1},
        listed=f"several.example:{server.port}, 127.0.0.0/8",
    )

    assert result["status"] == 200
    assert server.requests[0].endswith(b'{"a":1}')


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Return a certificate authority that this machine trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def certified(authority: trustme.CA, *names: str) -> tuple[ssl.SSLContext, list[str | None]]:
    """Return a TLS context with a certificate for these names, and a list of the names that clients ask for."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    return context, asked


async def test_tls_uses_the_name_though_the_connection_goes_to_an_address(
    serve: Serve, names: dict[str, list[list[str]]], authority: trustme.CA
) -> None:
    context, asked = certified(authority, "secure.example")
    server = await serve(tls=context)
    names["secure.example"] = [["127.0.0.1"]]

    result = await call(
        server, url=f"https://Secure.Example:{server.port}/", listed=f"*.example:{server.port}, 127.0.0.1:{server.port}"
    )

    assert result["body"] == "ok"
    assert asked == ["secure.example"]
    assert f"\r\nHost: secure.example:{server.port}\r\n".encode() in server.requests[0]


async def test_a_certificate_may_be_for_the_address(serve: Serve, authority: trustme.CA) -> None:
    server = await serve(tls=certified(authority, "127.0.0.1")[0])

    assert (await call(server))["body"] == "ok"


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_server_whose_certificate_is_for_another_name_or_not_trusted_gets_no_request(
    serve: Serve, names: dict[str, list[list[str]]], authority: trustme.CA, is_known: bool
) -> None:
    by = authority if is_known else trustme.CA()
    server = await serve(tls=certified(by, "other.example" if is_known else "secure.example", "127.0.0.1")[0])
    names["secure.example"] = [["127.0.0.1"]]

    with pytest.raises(Retry, match=r"cannot connect: .*certificate verify failed") as caught:
        await call(
            server, url=f"https://secure.example:{server.port}/", listed=f"secure.example:{server.port}, 127.0.0.1/32"
        )

    assert caught.value.code == "no_answer"
    assert server.requests == []


async def test_a_server_that_wants_a_client_certificate_is_tried_again(serve: Serve, authority: trustme.CA) -> None:
    context, _ = certified(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED  # TLS 1.3 reports that only after the handshake
    authority.configure_trust(context)
    server = await serve(tls=context)

    with pytest.raises(Retry, match="broke off") as caught:
        await call(server, timeout_seconds=3)

    assert caught.value.code == "no_answer"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_a_result_and_is_not_followed(serve: Serve, status: str) -> None:
    private = await serve()
    server = await serve(answer(status, f"Location: {private.url}"))

    result = await call(server, listed=f"127.0.0.1:{server.port}, 127.0.0.1:{private.port}")

    assert result["status"] == int(status[:3])
    assert result["headers"]["location"] == private.url
    assert private.connections == 0


@pytest.mark.parametrize("location", ["http://[broken", "http://169.254.169.254/", "\xff"])
async def test_a_redirect_to_anywhere_is_a_result_too(serve: Serve, location: str) -> None:
    server = await serve(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location.encode() + b"\r\n\r\n")

    assert (await call(server))["headers"]["location"] == location


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy, server = await serve(), await serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))

    await call(server)

    assert proxy.connections == 0
    assert b"authorization" not in server.requests[0].lower()


async def test_a_cookie_is_part_of_the_result_and_is_not_kept(serve: Serve) -> None:
    server = await serve(answer("200 OK", "Set-Cookie: session=1; Path=/"))
    run = http_request(HttpHosts.parse(f"127.0.0.1:{server.port}"))

    results = [await run(HttpRequest(url=server.url)) for _ in range(2)]

    assert [result["headers"]["set-cookie"] for result in results] == ["session=1; Path=/"] * 2  # type: ignore[index, call-overload] # dicts
    assert server.connections == 2
    assert b"cookie" not in server.requests[1].lower()


def dripping(what: bytes) -> Script:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(what)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)  # the pace of a slow server, not a wait for a state

    return drip


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    "script",
    [
        silent,
        dripping(b""),
        dripping(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    ],
    ids=["silent", "status", "headers", "body"],
)
async def test_an_answer_that_does_not_come_to_an_end_in_time_is_tried_again(serve: Serve, script: Script) -> None:
    server = await serve(script)
    began = time.monotonic()

    with pytest.raises(Retry, match=r"no answer within 0\.3 s$|broke off") as caught:
        await call(server, timeout_seconds=0.3)

    assert caught.value.code == "no_answer"
    assert time.monotonic() - began < 3
    async with asyncio.timeout(3):
        await server.left.wait()


async def test_a_request_that_is_stopped_closes_its_connection(serve: Serve, until: Until) -> None:
    server = await serve(silent)
    calling = asyncio.create_task(call(server))
    await until(lambda: server.requests)

    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    async with asyncio.timeout(3):
        await server.left.wait()


async def endless_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"1" * 0x10000 + b"\r\n")
        await writer.drain()


async def test_of_an_endless_body_the_beginning_is_kept_and_the_rest_is_not_read(serve: Serve) -> None:
    server = await serve(endless_body)

    result = await call(server)

    assert (result["body"], result["is_truncated"]) == ("1" * BODY_BYTES, True)
    async with asyncio.timeout(3):
        await server.left.wait()


async def endless_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"y" * 1_000 + b"\r\n")
        await writer.drain()


async def endless_announcements(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()


@pytest.mark.parametrize("script", [endless_headers, endless_announcements])
async def test_an_answer_that_never_gets_to_its_body_is_tried_again(serve: Serve, script: Script) -> None:
    server = await serve(script)

    with pytest.raises(Retry) as caught:
        await call(server, timeout_seconds=1)

    assert caught.value.code == "no_answer"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_small_answer_that_unpacks_to_a_huge_one_is_cut(serve: Serve, encoding: str) -> None:
    packed = zlib.compress(bytes(200 << 20)) if encoding == "deflate" else gzip.compress(bytes(200 << 20), 1)
    server = await serve(answer("200 OK", f"Content-Encoding: {encoding}", body=packed))
    tracemalloc.start()

    try:
        result = await call(server)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (result["body"], result["is_truncated"]) == ("\ufffd" * BODY_BYTES, True)
    assert peak < 16 << 20


@pytest.mark.parametrize("headers", [["Content-Encoding: deflate, gzip, gzip"], ["Content-Encoding: gzip"] * 2])
async def test_a_body_that_is_compressed_twice_is_not_unpacked_and_blocks_nobody(
    serve: Serve, headers: list[str]
) -> None:
    # Empty blocks: unpacking all of them yields no byte, and would block the event loop meanwhile.
    packed = gzip.compress(gzip.compress(b"\0\0\0\xff\xff" * (8 << 20)), 1)
    server = await serve(answer("200 OK", *headers, body=packed))

    result = await call(server)

    assert (result["status"], result["body"], result["is_truncated"]) == (200, "", True)


async def test_a_server_that_compresses_unasked_is_understood(serve: Serve) -> None:
    body = gzip.compress(b'{"a": 1}')
    server = await serve(answer("200 OK", "Content-Type: application/json", "Content-Encoding: gzip", body=body))

    assert (await call(server))["body"] == {"a": 1}


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    "script",
    [
        b"",
        reset,
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nonly",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nonly",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret",
        b"HTTP/1.1 200 OK\r\nX: secret\x00\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: secret\r\nConnection: Upgrade\r\n\r\n",
        b"-ERR secret\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
)
async def test_a_broken_answer_is_tried_again_and_not_repeated_in_the_error(
    serve: Serve, script: bytes | Script
) -> None:
    server = await serve(script)

    with pytest.raises(Retry, match="broke off") as caught:
        await call(server, timeout_seconds=3)

    assert (caught.value.code, caught.value.after_seconds) == ("no_answer", None)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_server_that_is_not_there_is_tried_again(serve: Serve) -> None:
    server = await serve()
    await server.aclose()

    with pytest.raises(Retry, match=f"^GET http://127.0.0.1:{server.port}: cannot connect") as caught:
        await call(server)

    assert caught.value.code == "no_answer"


async def test_a_server_that_does_not_finish_the_tls_handshake_is_tried_again(
    serve: Serve,
) -> None:
    server = await serve(silent)

    with pytest.raises(Retry, match="no connection within") as caught:
        await call(server, connect_seconds=0.2, url=f"https://127.0.0.1:{server.port}/")

    assert caught.value.code == "no_answer"


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_NONAME, socket.EAI_FAIL])
async def test_a_name_that_cannot_be_resolved_is_tried_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    server = await serve()

    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(number, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(Retry, match=r"^GET http://down\.example: its name could not be resolved$"):
        await call(server, url="http://down.example/", listed="down.example")


async def test_a_silent_name_server_keeps_no_other_lookup_of_the_process_waiting(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, real, is_over = await serve(), socket.getaddrinfo, threading.Event()

    def lookup(host: Any, *values: Any, **named: Any) -> Any:
        if host == "silent.example":
            is_over.wait(30)
        return real("127.0.0.1", *values, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    call_it = partial(call, server, url="http://silent.example/", listed="silent.example", timeout_seconds=0.2)
    try:
        ended = await asyncio.gather(*(call_it() for _ in range(12)), return_exceptions=True)
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().getaddrinfo("database.example", 5432)
    finally:
        is_over.set()

    assert {str(one) for one in ended} == {"GET http://silent.example: no answer within 0.2 s"}


@pytest.mark.parametrize(
    ("status", "code"), [("503 Busy", "http_503"), ("429 Slow Down", "http_429"), ("500 Oh", "http_500")]
)
async def test_an_answer_with_retry_after_is_tried_again_after_that_time(serve: Serve, status: str, code: str) -> None:
    server = await serve(answer(status, "Retry-After: 120", body=b"secret"))

    with pytest.raises(Retry) as caught:
        await call(server)

    assert (caught.value.code, caught.value.after_seconds) == (code, 120)


@pytest.mark.usefixtures("untouched_logging")
async def test_errors_and_the_log_hold_no_secrets(
    serve: Serve, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(answer("404 secret", "Set-Cookie: secret", body=b"secret"))

    configure_logging("DEBUG", "json")
    logging.getLogger("here").debug("is heard")
    with pytest.raises(Fail) as caught:
        await call(server, url=f"{server.url}secret?token=secret", headers={"Authorization": "secret"}, json="secret")

    assert caught.value.code == "http_404"
    assert caught.value.message == f"GET http://127.0.0.1:{server.port} answered 404 Not Found"
    shown = capsys.readouterr().err
    assert "is heard" in shown
    assert "secret" not in shown + caplog.text


async def test_a_worker_runs_it_from_the_payload_to_the_row(
    serve: Serve,
    start: Callable[..., Awaitable[Any]],
    create: Callable[..., Awaitable[Task]],
    ended: Callable[..., Awaitable[dict[str, Any]]],
    timings: WorkerTimings,
) -> None:
    answers = iter([answer("503 Busy", "Retry-After: 0"), b"", OK])

    async def recover(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))

    server, gone = await serve(recover), await serve(answer("410 Gone"))
    retry = BackOff(first_seconds=0.1, longest_seconds=0.1)
    await start(
        http_hosts=f"127.0.0.1:{server.port}, 127.0.0.1:{gone.port}",
        timings=replace(timings, attempt=AttemptTimings(retry=retry)),
    )

    rows = [
        await ended((await create("http.request", payload=payload)).id)
        for payload in (
            {"url": server.url, "headers": {"Idempotency-Key": "7"}, "json": None, "method": "POST"},
            {"url": gone.url},
            {"url": "http://169.254.169.254/latest/meta-data/"},
            {"url": server.url, "headers": {"Host": "evil.example"}},
        )
    ]

    assert [row["status"] for row in rows] == ["COMPLETED", "FAILED", "FAILED", "FAILED"]
    assert (rows[0]["result"]["status"], rows[0]["result"]["body"], rows[0]["attempt"]) == (200, "ok", 3)
    assert [b"Idempotency-Key: 7\r\n" in request and request.endswith(b"null") for request in server.requests] == [
        True
    ] * 3
    assert [(row["error"]["code"], row["attempt"]) for row in rows[1:]] == [
        ("http_410", 1),
        ("host_not_allowed", 1),
        ("invalid_payload", 1),
    ]


async def test_a_worker_in_its_own_process_resolves_names(
    serve: Serve,
    worker_process: Callable[..., Awaitable[Any]],
    create: Callable[..., Awaitable[Task]],
    ended: Callable[..., Awaitable[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    server = await serve()
    (tmp_path / "none.py").touch()
    await worker_process(tmp_path / "none.py", http_hosts=f"localhost:{server.port}, 127.0.0.1/32, ::1/128")

    row = await ended((await create("http.request", payload={"url": f"http://localhost:{server.port}/"})).id)

    assert (row["status"], row["result"]["body"]) == ("COMPLETED", "ok")


@pytest.mark.parametrize(("hosts", "types"), [("", {"echo"}), ("api.example.org", {"echo", "http.request"})])
async def test_it_is_offered_only_if_hosts_are_set(
    start: Callable[..., Awaitable[Any]], table: Any, until: Until, hosts: str, types: set[str]
) -> None:
    await start(http_hosts=hosts)

    async def offered() -> set[str]:
        return {row["type"] for row in await table.fetch("SELECT type FROM task_types")}

    assert await until(offered) == types
