"""Streams and waiting callers in trouble: no database, too many of them, readers or a server that stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import httpx2
import pytest

from task_api.app import create_app
from task_api.connections import ConnectionBounds
from task_api.parts import ApiParts
from task_api.request_middleware import RequestMiddleware
from task_api.routes.events import EventCalls
from task_api.server import listen, serve
from task_contracts.testing import an_id
from task_migrations import upgrade
from task_store.testing import PrivatePostgres

TASKS, EVENTS = "/api/v1/tasks", "/api/v1/events"


@pytest.mark.parametrize(("connections", "most"), [(6, 3), (5_000, 7)])
async def test_streams_take_no_more_than_half_of_the_connections(
    open_parts: Any, database_url: str, monkeypatch: pytest.MonkeyPatch, connections: int, most: int
) -> None:
    monkeypatch.setattr("task_api.routes.events.most_connections", lambda: connections)
    async with open_parts(database_url, streams_max=7) as parts:
        assert EventCalls(parts)._places.most == most


@pytest.fixture
async def few_places(open_parts: Any, database_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_parts(database_url, streams_max=2) as parts:
        listener = listen("127.0.0.1", 0)
        serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, asyncio.Event()))
        async with httpx2.AsyncClient(base_url=listener.url, timeout=30) as client:
            yield client
        parts.stop.set()
        await serving


async def test_a_stream_beyond_the_most_is_503_until_another_has_ended(
    few_places: httpx2.AsyncClient, until: Any
) -> None:
    async with AsyncExitStack() as open_streams:
        for _ in range(2):
            await open_streams.enter_async_context(few_places.stream("GET", EVENTS))

        refused = [await few_places.get(EVENTS), await few_places.get(f"{TASKS}/{an_id()}/events")]
        created = await few_places.post(TASKS, json={"name": "a task"}, headers={"prefer": "wait=1"})

    assert [answer.status_code for answer in refused] == [503, 503]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert created.status_code == 201, "who waits takes no place"

    async def is_taken() -> bool:
        async with few_places.stream("GET", EVENTS) as answer:
            return answer.status_code == 200

    await until(is_taken)


async def test_a_failed_beginning_leaves_no_place_taken(few_places: httpx2.AsyncClient) -> None:
    answers = [await few_places.get(f"{TASKS}/{an_id()}/events") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {404}


async def test_however_many_wait_one_statement_reads_for_all(
    live_client: httpx2.AsyncClient, parts: ApiParts, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [(await live_client.post(TASKS, json={"name": "a task"})).json()["id"] for _ in range(20)]
    asked: list[int] = []
    read = parts.watch.changes.read

    async def counted(versions: Any) -> Any:
        asked.append(len(versions))
        return await read(versions)

    monkeypatch.setattr(parts.watch.changes, "read", counted)
    headers = {"prefer": "wait=60"}
    waiting = [asyncio.create_task(live_client.get(f"{TASKS}/{task_id}", headers=headers)) for task_id in ids]

    async def were_all_asked_at_once() -> bool:
        return len(ids) in asked

    await until(were_all_asked_at_once)
    for call in waiting:
        call.cancel()
    assert len(asked) < 2 * len(ids)


async def open_deaf(url: str, path: str) -> socket.socket:
    """Ask for a stream, and read nothing of it."""
    host, port = url.removeprefix("http://").split(":")
    deaf = socket.create_connection((host, int(port)))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    return deaf


@pytest.mark.alone
async def test_a_reader_that_stops_reading_is_closed_and_holds_up_nobody(
    parts: ApiParts, until: Any, monkeypatch: pytest.MonkeyPatch, worker: Any
) -> None:
    """Its connection is closed once it has read nothing of what waits for it for `peer_seconds`."""
    listener = listen("127.0.0.1", 0)
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bounds = ConnectionBounds(peer_seconds=1)
    serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, asyncio.Event(), bounds))
    async with httpx2.AsyncClient(base_url=listener.url, timeout=30) as client:
        deaf = await open_deaf(listener.url, EVENTS)

        async def are_open(count: int) -> bool:
            return len(parts.watch.subscriptions) == count

        await until(partial(are_open, 1))
        async with client.stream("GET", EVENTS) as listening:
            lines = listening.aiter_lines()
            await until(partial(are_open, 2))
            seen = 0
            while len(parts.watch.subscriptions) == 2:
                created = await asyncio.gather(*(client.post(TASKS, json={"name": "a task"}) for _ in range(50)))
                await asyncio.gather(*(client.delete(f"{TASKS}/{answer.json()['id']}") for answer in created))
                while seen < 50:
                    seen += (await anext(lines)).startswith("data: ")
                seen = 0
            assert len(parts.watch.subscriptions) == 1
    deaf.close()
    parts.stop.set()
    await serving


async def test_a_server_that_stops_ends_a_hundred_streams_at_once_without_a_traceback(
    parts: ApiParts, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen("127.0.0.1", 0)
    serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, asyncio.Event()))
    limits = httpx2.Limits(max_connections=200)
    async with httpx2.AsyncClient(base_url=listener.url, timeout=30, limits=limits) as client:
        task = (await client.post(TASKS, json={"name": "a task"})).json()
        paths = [EVENTS, f"{EVENTS}?id={task['id']}", f"{TASKS}/{task['id']}/events"] * 33
        async with AsyncExitStack() as open_streams:
            answers = [await open_streams.enter_async_context(client.stream("GET", path)) for path in paths]
            waiting = [
                asyncio.create_task(client.get(f"{TASKS}/{task['id']}", headers={"prefer": "wait=60"}))
                for _ in range(20)
            ]
            parts.stop.set()
            async with asyncio.timeout(8):
                await serving
                bodies = await asyncio.gather(*(answer.aread() for answer in answers))
                await asyncio.gather(*waiting, return_exceptions=True)

    assert all(body.endswith(b"\n\n") for body in bodies)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert not parts.watch.subscriptions


@pytest.mark.parametrize("is_hurried", [False, True])
async def test_a_reader_that_stopped_reading_does_not_hold_up_a_server_that_stops(
    is_hurried: bool, parts: ApiParts, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener, hurry = listen("127.0.0.1", 0), asyncio.Event()
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    counts = [0]

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not parts.stop.is_set():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            counts[-1] += 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    serving = asyncio.create_task(serve(RequestMiddleware(endless), listener, parts.stop, hurry))
    deaf = await open_deaf(listener.url, "/")

    async def is_stuck() -> bool:
        counts.append(counts[-1])
        return counts[-1] > 0 and len(set(counts[-20:])) == 1

    await until(is_stuck)
    parts.stop.set()
    if is_hurried:
        hurry.set()
    async with asyncio.timeout(8):
        await serving
    deaf.close()

    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.private_servers
@pytest.mark.alone
async def test_streams_and_those_who_wait_go_on_after_the_database_was_away(
    open_parts: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with PrivatePostgres() as server:
        await upgrade(server.url())
        async with open_parts(server.url()) as parts:
            listener = listen("127.0.0.1", 0)
            serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, asyncio.Event()))
            async with httpx2.AsyncClient(base_url=listener.url, timeout=60) as client:
                await _check_an_outage(client, server, until)
            parts.stop.set()
            await serving


async def _check_an_outage(client: httpx2.AsyncClient, server: PrivatePostgres, until: Any) -> None:
    one, other = [(await client.post(TASKS, json={"name": "a task"})).json()["id"] for _ in range(2)]
    path = f"{TASKS}/{one}"
    waits = asyncio.create_task(client.get(path, headers={"prefer": "wait=60"}))
    gives_up = asyncio.create_task(client.get(f"{TASKS}/{other}", headers={"prefer": "wait=3"}))
    async with client.stream("GET", f"{path}/events") as task_stream, client.stream("GET", EVENTS) as stream:
        await server.stop(immediate=True)
        begins = [await client.get(f"{path}/events"), await client.get(f"{EVENTS}?id={one}")]
        assert (await gives_up).status_code == 503
        await server.start()

        async def is_cancelled() -> bool:
            return (await client.delete(path)).status_code == 200

        await until(is_cancelled)
        last = (await task_stream.aread()).decode()
        lines = stream.aiter_lines()
        while not (line := await anext(lines)).startswith("data: "):
            pass

    assert [answer.status_code for answer in begins] == [503, 503]
    assert (await waits).json()["status"] == "CANCELLED"
    assert '"CANCELLED"' in last
    assert one in line
