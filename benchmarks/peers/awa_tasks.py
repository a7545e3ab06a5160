# /// script
# requires-python = ">=3.11"
# dependencies = ["awa-pg==0.6.9"]
#
# [tool.benchmark]
# title = "Awa 0.6"
# pages = [
#     "https://github.com/hardbyte/awa/blob/main/docs/getting-started-python.md",
#     "https://github.com/hardbyte/awa/blob/main/docs/configuration.md",
# ]
# how = "200 workers in one queue, queue storage, COPY in bulk; keeps no result, completed tasks are only counted"
# needs = ["postgres"]
# drained = 20000
# outcomes = """
#     SELECT coalesce((SELECT sum(completed_count) FROM awa.receipt_completion_batches), 0)
#          + coalesce((SELECT sum(pruned_completed_count) FROM awa.queue_terminal_rollups), 0)"""
# ///
"""Awa: PostgreSQL alone, its engine in Rust."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import awa

from _peer import DATABASE_URL, SLOTS, Peer, main, ran


@dataclass
class Noop:
    """The arguments of a task."""

    number: int


class AwaPeer(Peer):
    """See the module."""

    async def setup(self) -> None:
        await self.open()
        await self._client.migrate()
        await self._client.install_queue_storage(schema="awa")  # what enqueueing by COPY needs; else a worker does it
        await self.close()

    async def open(self) -> None:
        self._client = awa.AsyncClient(DATABASE_URL)

    async def one(self, number: int) -> str:
        return str((await self._client.insert(Noop(number), queue="bench")).id)

    async def many(self, numbers: Sequence[int]) -> None:
        await self._client.enqueue_many_copy([Noop(number) for number in numbers], queue="bench")

    async def close(self) -> None:
        await self._client.close()

    async def work(self) -> None:
        client = awa.AsyncClient(DATABASE_URL)

        @client.task(Noop, queue="bench")
        async def noop(job: Any) -> None:
            ran(job.args.number)

        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await client.start([("bench", SLOTS)])
        await stopped.wait()
        await client.shutdown()
        await client.close()


if __name__ == "__main__":
    main(AwaPeer())
