"""Connections of callers that send too much, too slowly or nothing, or that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from task_api.connections import ConnectionBounds, most_connections
from task_api.server import listen, serve

SECONDS = 15
PAGE_BYTES = 16 << 20
SHORT = b"GET /short HTTP/1.1\r\nhost: here\r\n\r\n"
PAGE = b"GET /page HTTP/1.1\r\nhost: here\r\n\r\n"
UNANSWERED = b"GET /never HTTP/1.1\r\nhost: here\r\n\r\n"


class Server:
    """A server whose application answers /page with `PAGE_BYTES`, /never never, and /told when it is told to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.told = asyncio.Event()
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.answered: asyncio.Queue[str] = asyncio.Queue()
        self.callers: list[Caller] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.put_nowait(scope["path"])
        if scope["path"] == "/never":
            await asyncio.Event().wait()
        if scope["path"] == "/told":
            await self.told.wait()
        else:
            while (await receive()).get("more_body"):
                pass
        body = b"x" * PAGE_BYTES if scope["path"] == "/page" else b"short"
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await send({"type": "http.response.body", "body": body[len(body) // 2 :]})  # once the caller reads, or is gone
        self.answered.put_nowait(scope["path"])

    async def connect(self, *sent: bytes) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        caller.writer.writelines(sent)
        self.callers.append(caller)
        return caller


class Caller:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def everything(self) -> bytes:
        """Read until the server closes the connection."""
        read = bytearray()
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(1 << 20):
                    read += piece
        return bytes(read)

    async def head(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> bytes:
        return await self.head() + await self.reader.readexactly(5)


@contextlib.asynccontextmanager
async def serving(**bounds: Any) -> AsyncIterator[Server]:
    listener, stop, hurry = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    server = Server(listener.socket.getsockname()[1])
    running = asyncio.create_task(serve(server, listener, stop, hurry, ConnectionBounds(**bounds)))
    try:
        yield server
    finally:
        for caller in server.callers:
            caller.writer.transport.abort()
        stop.set()
        hurry.set()
        async with asyncio.timeout(SECONDS):
            await running


def head_of(size: int) -> bytes:
    start = b"GET /short HTTP/1.1\r\nhost: here\r\nx: "
    return start + b"y" * (size - len(start) - 4) + b"\r\n\r\n"


def status_and_problem(answer: bytes) -> tuple[bytes, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    return head.split()[1], json.loads(body)


async def test_head_of_the_limit_is_answered_and_one_byte_more_is_431() -> None:
    async with serving() as server:
        longest = await (await server.connect(head_of(65_536))).answer()
        status, problem = status_and_problem(await (await server.connect(head_of(65_537))).everything())

    assert longest.endswith(b"short")
    assert (status, problem["status"], problem["code"]) == (b"431", 431, "validation_error")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /short HTTP/1.1\r\nhost: here\r\nx: ", *[b"y" * 4_000_000] * 10],
        [b"GET /short HTTP/1.1\r\n", *[b"x: y\r\n" * 500_000] * 10],
        [b"GET /", *[b"y" * 4_000_000] * 10],
        [b"\r\n" * 2_000_000] * 10,
        [b"POST /short HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", *[b"y" * 4_000_000] * 10],
        [b"POST /short HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;x=", *[b"y" * 4_000_000] * 10],
    ],
    ids=["one header", "many headers", "a path", "blank lines", "a trailer", "an extension of a chunk"],
)
async def test_caller_that_sends_40_megabytes_that_are_no_body_reads_its_431(pieces: list[bytes]) -> None:
    async with serving() as server:
        caller = await server.connect()
        for piece in pieces:
            caller.writer.write(piece)
            await caller.writer.drain()
        status, _ = status_and_problem(await caller.everything())

    assert status == b"431"


@pytest.mark.parametrize("count", [256, 257])
async def test_more_headers_than_the_limit_are_431(count: int) -> None:
    async with serving() as server:
        caller = await server.connect(b"GET /short HTTP/1.1\r\n" + b"x: y\r\n" * count + b"\r\n")

        assert (await caller.head()).split()[1] == (b"200" if count == 256 else b"431")


async def test_head_that_is_sent_byte_by_byte_is_408_when_its_time_is_over() -> None:
    async with serving(peer_seconds=0.3) as server:
        caller = await server.connect(b"GET /short HTTP/1.1\r\n")
        reading = asyncio.create_task(caller.everything())
        while not reading.done():
            caller.writer.write(b"x")
            await asyncio.wait([reading], timeout=0.05)
        status, problem = status_and_problem(await reading)

    assert (status, problem["status"]) == (b"408", 408)


async def test_connection_that_says_nothing_is_closed_without_an_answer() -> None:
    async with serving(peer_seconds=0.3) as server:
        assert await (await server.connect()).everything() == b""


async def test_connection_that_has_had_an_answer_may_rest_for_longer_than_a_head_may_take() -> None:
    async with serving(peer_seconds=0.3) as server:
        caller = await server.connect(SHORT)
        await caller.answer()
        await (await server.connect()).everything()  # it said nothing, and is closed first
        caller.writer.write(SHORT)

        assert (await caller.answer()).startswith(b"HTTP/1.1 200")


async def test_connection_that_does_not_read_is_closed() -> None:
    async with serving(peer_seconds=0.3) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(PAGE)
            async with asyncio.timeout(SECONDS):
                await server.answered.get()
            read = await asyncio.to_thread(_read_all, deaf)

    assert read < PAGE_BYTES


async def test_connection_that_reads_slowly_is_answered_in_full() -> None:
    async with serving(peer_seconds=0.5) as server:
        caller = await server.connect(PAGE)
        read = len(await caller.head())
        async with asyncio.timeout(SECONDS):
            for _ in range(20):  # for longer than it may read nothing
                await asyncio.sleep(0.1)
                read += len(await caller.reader.readexactly(PAGE_BYTES // 20))
            rest = PAGE_BYTES % 20
            assert len(await caller.reader.readexactly(rest)) == rest


async def test_callers_that_do_not_read_share_a_bound_and_one_that_reads_is_answered() -> None:
    async with serving(unsent_bytes=PAGE_BYTES // 2, peer_seconds=600) as server:
        with contextlib.ExitStack() as deaf:
            for _ in range(4):
                deaf.enter_context(_connect_deaf(server.port)).sendall(PAGE)
            async with asyncio.timeout(SECONDS):
                for _ in range(2):
                    await server.answered.get()  # they have not read it: they are closed
            reads = await server.connect(PAGE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

            assert len(await reads.everything()) > PAGE_BYTES


async def test_request_that_is_broken_in_the_middle_of_its_body_is_answered_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server:
        caller = await server.connect(
            b"POST /told HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n"
        )
        refusal = await caller.head()
        server.told.set()
        async with asyncio.timeout(SECONDS):
            await server.answered.get()
        rest = await caller.everything()

    assert refusal.startswith(b"HTTP/1.1 400")
    assert b"HTTP/1.1" not in rest
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("refused", [b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300])
async def test_answer_to_a_request_is_not_taken_for_one_to_nonsense_that_follows_it(refused: bytes) -> None:
    async with serving() as server:
        answer = await (await server.connect(SHORT + refused)).everything()

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"short")


async def test_silent_connections_make_room_for_those_that_ask_and_are_one_log_line() -> None:
    with capture_logs() as lines:
        async with serving(connections=20) as server:
            silent = [await server.connect() for _ in range(60)]
            answer = await (await server.connect(SHORT)).answer()
            closed = [await caller.everything() for caller in silent[:41]]

    assert answer.endswith(b"short")
    assert set(closed) == {b""}
    (line,) = [line for line in lines if line["event"] == "connections_capped"]
    assert (line["log_level"], line["limit"]) == ("warning", 20)


async def test_request_under_way_keeps_its_connection_however_many_others_come() -> None:
    async with serving(connections=5) as server:
        async with asyncio.timeout(SECONDS):
            under_way = await server.connect(UNANSWERED)
            await server.asked.get()
        for _ in range(20):
            await server.connect()
        await (await server.connect(SHORT)).answer()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await under_way.reader.read(1)


@pytest.fixture
def _files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(("files", "connections"), [(300, 150), (1_024, 512), (10_000, 2_500)])
def test_half_of_the_files_of_the_process_are_for_connections(files: int, connections: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    assert most_connections() == connections


def _connect_deaf(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the system reads little by itself
    connection.connect(("127.0.0.1", port))
    return connection


def _read_all(connection: socket.socket) -> int:
    read = 0
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(1 << 20):
            read += len(piece)
    return read
