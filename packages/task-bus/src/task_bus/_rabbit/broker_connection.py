"""One connection to the broker, from its opening to its first failure.

**Invariants**

- Whatever goes wrong ends the whole connection: a closed channel, a cancelled consumer, an answer that does not come, a
  task of the connection that fails. So there is one way to recover, and every fault exercises it.
- `failed` is set once, by the first failure. Callbacks that come later change nothing.
- The tasks of a connection end with it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from contextlib import suppress
from traceback import walk_tb
from typing import Any

from aio_pika.abc import AbstractChannel
from aio_pika.connection import Connection, make_url
from aio_pika.exceptions import AMQPConnectionError, AMQPError, InvalidFrameError

from task_bus._rabbit.call_broker import CONNECTION_LOST, call_broker
from task_bus._rabbit.timings import BrokerTimings

_RANDOM_NAME = re.compile(r"amq\.gen-[\w-]+")
"""The name that the broker makes for a listener's queue, another one on each connection."""


class BrokerConnection:
    """A connection with its channels and tasks. It is opened once; a lost one is replaced, never repaired."""

    def __init__(self, url: str, name: str, timings: BrokerTimings) -> None:
        address = make_url(url)
        if "heartbeat" not in address.query:
            address = address.update_query(heartbeat=timings.heartbeat_seconds)
        self._amqp = Connection(address, client_properties={"connection_name": name})
        self._amqp.close_callbacks.add(self._on_close)
        self._timings = timings
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_checking = False
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Set to the reason when the connection can no longer be used."""

    @property
    def is_blocked(self) -> bool:
        """Whether the broker told this connection to stop publishing (a memory or disk alarm)."""
        transport = self._amqp.transport
        if transport is None:
            return True
        # The library shows it only by waiting while it is blocked: run one step of that, and see whether it ends.
        ready = transport.connection.ready()
        try:
            ready.send(None)
        except StopIteration:
            return False
        ready.close()
        return True

    async def open(self) -> None:
        """Connect.

        Raises:
            ConnectionError, OSError, AMQPError: the broker cannot be reached or refuses the connection.

        """
        try:
            await call_broker(self._timings.connect_seconds, self._amqp.connect())
        except InvalidFrameError as error:
            raise _refusal(error) from error

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel whose loss fails the connection. With `confirms`, a message without a queue is an error."""
        channel = self._amqp.channel(publisher_confirms=confirms, on_return_raises=confirms)
        channel.close_callbacks.add(self._on_close)
        await channel.initialize()
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._on_consumer_cancelled)
        return channel

    async def disposable_channel(self) -> AbstractChannel:
        """Open a channel that may be lost, for queries that the broker may answer by closing it."""
        channel = self._amqp.channel(publisher_confirms=False)
        await channel.initialize()
        return channel

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` for as long as the connection lives. If it raises, the connection has failed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def fail(self, reason: str) -> None:
        """Mark the connection as failed. Safe to repeat; the first reason counts."""
        if not self.failed.done():
            self.failed.set_result(reason)

    def check(self) -> None:
        """Check in the background whether the broker still answers; if not, the connection has failed.

        Takes one round trip; calls meanwhile begin no second check. A blocked connection is not checked: the broker has
        said that it reads nothing from it.
        """
        if not (self._is_checking or self.is_blocked or self.failed.done()):
            self._is_checking = True
            self.run(self._check())

    async def aclose(self) -> None:
        """End the tasks and close the connection. Takes twice `close_seconds` at most, where the broker is silent."""
        self.fail("closed")
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timings.close_seconds)
        with suppress(*CONNECTION_LOST):
            await call_broker(self._timings.close_seconds, self._amqp.close())

    async def _check(self) -> None:
        channel = await call_broker(self._timings.call_seconds, self.disposable_channel())
        await call_broker(self._timings.call_seconds, channel.close())
        self._is_checking = False

    def _on_close(self, _: object, error: BaseException | None) -> None:
        self.fail(describe(error))

    def _on_consumer_cancelled(self, _: object) -> None:
        self.fail("the broker cancelled a consumer")

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self.fail("a task of the connection was cancelled")  # by the library: closing has set another reason
        elif (error := task.exception()) is not None:
            self.fail(describe(error))


def describe(error: BaseException | None) -> str:
    """Return what happened to a connection, as text for the log: the same text whenever the same happens."""
    return _RANDOM_NAME.sub("amq.gen-…", f"{type(error).__name__}: {error}") if error is not None else "closed"


def _refusal(error: InvalidFrameError) -> AMQPError:
    """Return the broker's answer where it closes a connection that is being opened; else the error itself.

    The library's error (aiormq 7.2) holds only the address of the frame in which the broker says why.
    """
    values = (value for frame, _ in walk_tb(error.__traceback__) for value in frame.f_locals.values())
    closing = next((value for value in values if getattr(value, "name", None) == "Connection.Close"), None)
    return AMQPConnectionError(closing.reply_text) if closing is not None else error
