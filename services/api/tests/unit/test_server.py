from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from task_api.app import create_app
from task_api.parts import ApiParts
from task_api.server import GRACE_SECONDS, listen, serve
from task_runtime import Misconfigured


def test_port_0_takes_a_free_one() -> None:
    listener = listen("127.0.0.1", 0)

    with listener.socket:
        assert listener.url == f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


def test_an_answer_in_two_parts_does_not_wait_for_the_first_to_be_acknowledged() -> None:
    listener = listen("127.0.0.1", 0)

    with listener.socket, socket.create_connection(listener.socket.getsockname()):
        accepted, _ = listener.socket.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Misconfigured, match="in use"):
        listen("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_said_in_one_line(host: str) -> None:
    with pytest.raises(Misconfigured, match="TASK_API_HOST"):
        listen(host, 0)


async def test_a_second_request_to_stop_does_not_wait_for_open_requests() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    listener, stop, hurry = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(app, listener, stop, hurry))
    reader, writer = await asyncio.open_connection(*listener.socket.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
    async with asyncio.timeout(GRACE_SECONDS / 2):
        await began.wait()
        stop.set()
        await asyncio.sleep(0.3)  # a server that waits for nobody has ended by then
        assert not serving.done()

        hurry.set()
        await serving
        await ended.wait()
        writer.close()
    assert not reader.at_eof() or await reader.read() == b""


@pytest.mark.parametrize("is_hurried", [False, True])
async def test_bodies_that_do_not_come_end_with_the_server_and_are_no_tracebacks(
    parts: ApiParts, caplog: pytest.LogCaptureFixture, is_hurried: bool
) -> None:
    listener, hurry = listen("127.0.0.1", 0), asyncio.Event()
    address = listener.socket.getsockname()
    grace_seconds = GRACE_SECONDS if is_hurried else 0
    serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, hurry, grace_seconds=grace_seconds))
    request = b"POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    callers = [await asyncio.open_connection(*address) for _ in range(5)]
    async with asyncio.timeout(GRACE_SECONDS):
        for reader, writer in callers:
            writer.write(request)
            await reader.readuntil(b"100 Continue\r\n\r\n")  # the body is waited for
        parts.stop.set()
        if is_hurried:
            hurry.set()
        await serving
        answers = [await _read(reader) for reader, _ in callers]
    for _, writer in callers:
        writer.close()

    assert {answer[:12] for answer in answers} == {b"" if is_hurried else b"HTTP/1.1 503"}
    assert not [record for record in caplog.records if record.exc_info]


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
