# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "taskiq==0.13.0",
#     "taskiq-aio-pika==0.6.1",
#     "taskiq-postgres[asyncpg]==0.9.1",
#     "uvloop==0.23.0",
# ]
#
# [tool.benchmark]
# title = "taskiq 0.13"
# pages = [
#     "https://github.com/taskiq-python/taskiq-aio-pika",
#     "https://danfimov.github.io/taskiq-postgres/",
#     "https://taskiq-python.github.io/guide/cli.html",
# ]
# how = "quorum queue, acks when saved, 200 at once; results in PostgreSQL by taskiq-postgres"
# needs = ["postgres", "rabbitmq"]
# drained = 5000
# outcomes = "SELECT count(*) FROM taskiq_results WHERE result IS NOT NULL"
# ///
"""taskiq: aio-pika carries the messages, asyncpg keeps the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from taskiq_aio_pika import AioPikaBroker, Queue, QueueType
from taskiq_pg.asyncpg import AsyncpgResultBackend

from _peer import BROKER_URL, DATABASE_URL, SLOTS, Peer, main, ran

broker = AioPikaBroker(BROKER_URL, qos=SLOTS, task_queues=[Queue(type=QueueType.QUORUM)])
broker = broker.with_result_backend(AsyncpgResultBackend(DATABASE_URL))


@broker.task("noop")
async def noop(number: int) -> int:
    """Do what every task does."""
    return ran(number)


class TaskiqPeer(Peer):
    """See the module."""

    async def setup(self) -> None:
        await self.open()
        await self.close()

    async def open(self) -> None:
        await broker.startup()

    async def one(self, number: int) -> str:
        return str((await noop.kiq(number)).task_id)

    async def many(self, numbers: Sequence[int]) -> None:
        for number in numbers:  # it has no bulk call
            await noop.kiq(number)

    async def close(self) -> None:
        await broker.shutdown()

    def work(self) -> None:
        program = str(Path(sys.executable).parent / "taskiq")
        # Acknowledged once the result is stored; no more in a worker's hands than it runs at once.
        options = ["--workers", "1", "--ack-type", "when_saved", "--max-async-tasks", str(SLOTS)]
        words = ["worker", "taskiq_tasks:broker", *options, "--log-level", "WARNING", "-d", str(Path(__file__).parent)]
        os.execve(program, [program, *words], os.environ)


if __name__ == "__main__":
    main(TaskiqPeer())
