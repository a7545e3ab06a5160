"""A server that the environment names for tests: its virtual hosts, and how it is cleaned."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import aio_pika

from task_bus._queues import broker_queues
from task_bus._rabbit.call_broker import call_broker
from task_bus._rabbit.topology import DEAD, SIGNALS, TASKS
from task_bus.testing._server import ManagementApi

GIVEN_QUEUES = ("default", "reports")
"""Tests that run on a named server use these queues only; other queues are not touched."""
CLEAN_SECONDS = 30.0


class GivenRabbit:
    """`VirtualHosts` on a broker that is named together with its management API."""

    def __init__(self, url: str, management_url: str) -> None:
        self._parts = urlsplit(url)
        self._management = ManagementApi(management_url)

    def url(self, vhost: str) -> str:
        """See `VirtualHosts`."""
        return self._parts._replace(path=f"/{quote(vhost, safe='')}").geturl()

    def add_vhost(self, vhost: str) -> None:
        """See `VirtualHosts`."""
        self._management.add_vhost(vhost)

    def delete_vhost(self, vhost: str) -> None:
        """See `VirtualHosts`."""
        self._management.delete("vhosts", vhost)


def clean(url: str) -> None:
    """Delete what earlier tests left in the virtual host of `url`: our exchanges, and the broker queues of tests."""
    with ThreadPoolExecutor(1) as thread:  # the caller may be on an event loop, where asyncio.run is refused
        thread.submit(asyncio.run, call_broker(CLEAN_SECONDS, _clean(url))).result()


async def _clean(url: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        for name in [DEAD, *(queue.name for queue in broker_queues(GIVEN_QUEUES))]:
            await channel.queue_delete(name)
        for name in (TASKS, SIGNALS):
            await channel.exchange_delete(name)
