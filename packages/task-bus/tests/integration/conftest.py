"""Brokers for tests. A `World` is one that both ends of a test connect to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Protocol
from uuid import uuid4

import aio_pika
import pytest

from task_bus import BrokerQueue, MemoryHub, TaskBus, open_bus
from task_bus._rabbit.bus import RabbitBus
from task_bus._rabbit.signals import RabbitSignals
from task_bus._rabbit.timings import BrokerTimings
from task_bus.signals import Signals, open_signals
from task_bus.testing import RabbitServer

CONNECT_SECONDS = 20
QUEUES = ("default", "reports")


class World(Protocol):
    """A broker, in memory or RabbitMQ: what opens buses on it, and what a test may do past them."""

    def make_bus(self, name: str = "bus") -> TaskBus: ...

    def make_signals(self, name: str = "signals") -> Signals: ...

    async def bus(self, name: str = "bus") -> TaskBus: ...

    async def signals(self, name: str = "signals") -> Signals: ...

    async def inject(self, queue: str, body: bytes) -> None: ...

    async def dead(self) -> list[bytes]: ...


class _World:
    def __init__(self, url: str, hub: MemoryHub | None = None) -> None:
        self.url = url
        self.hub = hub
        self.stack = AsyncExitStack()

    def make_bus(self, name: str = "bus") -> TaskBus:
        return open_bus(self.url, queues=QUEUES, name=name, hub=self.hub)

    def make_signals(self, name: str = "signals") -> Signals:
        return open_signals(self.url, name=name, hub=self.hub)

    async def bus(self, name: str = "bus") -> TaskBus:
        return await self._connected(self.make_bus(name))

    async def signals(self, name: str = "signals") -> Signals:
        return await self._connected(self.make_signals(name))

    async def _connected(self, made):
        await self.stack.enter_async_context(made)
        await made.wait_connected(CONNECT_SECONDS)
        return made


class MemoryWorld(_World):
    def __init__(self) -> None:
        super().__init__("memory://", MemoryHub())

    async def inject(self, queue: str, body: bytes) -> None:
        self.hub.queues[queue].put(body)

    async def dead(self) -> list[bytes]:
        return list(self.hub.dead)


class RabbitWorld(_World):
    async def bus(self, name: str = "bus", timings: BrokerTimings | None = None) -> TaskBus:
        if timings is None:
            return await super().bus(name)
        return await self._connected(RabbitBus(self.url, queues=QUEUES, name=name, timings=timings))

    async def signals(self, name: str = "signals", timings: BrokerTimings | None = None) -> Signals:
        if timings is None:
            return await super().signals(name)
        return await self._connected(RabbitSignals(self.url, name=name, timings=timings))

    async def inject(self, queue: str, body: bytes) -> None:
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            await channel.default_exchange.publish(aio_pika.Message(body), queue)

    async def dead(self) -> list[bytes]:
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            queue = await channel.get_queue("tasks.dead")
            bodies = []
            while (message := await queue.get(fail=False)) is not None:
                bodies.append(message.body)
            return bodies


@pytest.fixture
async def rabbit_world(broker_url: str) -> AsyncIterator[RabbitWorld]:
    world = RabbitWorld(broker_url)
    async with asyncio.timeout(120), world.stack:
        yield world


@pytest.fixture
async def memory_world() -> AsyncIterator[MemoryWorld]:
    world = MemoryWorld()
    async with world.stack:
        yield world


@pytest.fixture(params=["memory", "rabbit"])
def world(request: pytest.FixtureRequest) -> World:
    return request.getfixturevalue(f"{request.param}_world")


class Faults:
    """Breaks and repairs a private server. The calls wait until the server is done, without blocking the loop."""

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        self._server = server
        self._is_down = False
        self.vhost = vhost

    async def ctl(self, *arguments: str) -> str:
        return await asyncio.to_thread(self._server.ctl, *arguments)

    async def delete_queue(self, queue: BrokerQueue) -> None:
        await self.ctl("delete_queue", "--vhost", self.vhost, queue.name)

    async def close_connections(self) -> None:
        await self.ctl("close_all_connections", "--vhost", self.vhost, "a test")

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)
        self._is_down = False

    async def stop(self) -> None:
        self._is_down = True
        await asyncio.to_thread(self._server.stop)

    async def kill(self) -> None:
        # RabbitMQ writes what it knows of a new quorum queue to disk within seconds. Killed before that, 3.10 finds the
        # queue again but never elects a leader for it. The queues of a test are that new, so write it now.
        await self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self._is_down = True
        await asyncio.to_thread(self._server.kill)

    async def mend(self) -> None:
        if self._is_down:
            await self.start()

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()


@pytest.fixture
def private_vhost(rabbitmq_server: RabbitServer) -> Iterator[str]:
    vhost = f"test-{uuid4()}"
    rabbitmq_server.add_vhost(vhost)
    yield vhost
    rabbitmq_server.delete_vhost(vhost)


@pytest.fixture
async def faults(rabbitmq_server: RabbitServer, private_vhost: str) -> AsyncIterator[Faults]:
    faults = Faults(rabbitmq_server, private_vhost)
    yield faults
    await faults.mend()


@pytest.fixture
async def private_world(rabbitmq_server: RabbitServer, private_vhost: str) -> AsyncIterator[RabbitWorld]:
    """A world on a server that the test may break, whatever server other tests run on."""
    world = RabbitWorld(rabbitmq_server.url(private_vhost))
    async with asyncio.timeout(120), world.stack:
        yield world
