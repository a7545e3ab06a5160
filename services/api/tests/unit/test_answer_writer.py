from __future__ import annotations

import asyncio
from typing import Any

import pytest

from task_api import bounded_protocol
from task_api.answer_writer import AnswerWriter
from task_api.server import GRACE_SECONDS, listen, serve

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Transport:
    def __init__(self) -> None:
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


def writer_to(transport: Any) -> AnswerWriter:
    return AnswerWriter(transport, asyncio.get_running_loop())


async def test_a_head_is_written_together_with_what_comes_after_it() -> None:
    transport = Transport()
    writer = writer_to(transport)

    writer.write(HEAD)
    writer.write(b"one")
    writer.write(b"two")
    await asyncio.sleep(0)

    assert transport.done == [HEAD + b"one", b"two"]


async def test_a_head_without_a_body_is_written() -> None:
    transport = Transport()
    writer = writer_to(transport)

    writer.write(HEAD)
    writer.write(b"")

    assert transport.done == [HEAD]


async def test_a_head_whose_body_comes_later_does_not_wait_for_it() -> None:
    transport = Transport()
    writer = writer_to(transport)

    writer.write(HEAD)
    await asyncio.sleep(0)
    assert transport.done == [HEAD]

    writer.write(b"later")
    assert transport.done == [HEAD, b"later"]


async def test_a_large_body_is_not_copied_to_the_head() -> None:
    transport = Transport()
    writer = writer_to(transport)
    large = bytes(1 << 20)

    writer.write(HEAD)
    writer.write(large)

    assert transport.done[0] == HEAD
    assert transport.done[1] is large


async def test_what_is_held_is_written_before_the_connection_is_closed() -> None:
    transport = Transport()
    writer = writer_to(transport)

    writer.write(HEAD)
    writer.close()

    assert transport.done == [HEAD, "closed"]
    assert writer.is_closing()


@pytest.mark.parametrize(("method", "is_joined"), [("GET", True), ("HEAD", False)])
async def test_the_server_joins_all_but_the_answers_to_head(
    monkeypatch: pytest.MonkeyPatch, method: str, is_joined: bool
) -> None:
    made: list[AnswerWriter] = []

    def noted(transport: Any, loop: Any) -> AnswerWriter:
        made.append(AnswerWriter(transport, loop))
        return made[-1]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    monkeypatch.setattr(bounded_protocol, "AnswerWriter", noted)
    listener, stop, hurry = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(app, listener, stop, hurry))
    reader, writer = await asyncio.open_connection(*listener.socket.getsockname())
    async with asyncio.timeout(GRACE_SECONDS):
        writer.write(f"{method} / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        stop.set()
        hurry.set()
        await serving

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nok" if is_joined else b"\r\n\r\n")
    assert bool(made) is is_joined
