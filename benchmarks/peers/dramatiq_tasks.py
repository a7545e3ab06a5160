# /// script
# requires-python = ">=3.11"
# dependencies = ["dramatiq[rabbitmq,redis]==2.2.1"]
#
# [tool.benchmark]
# title = "dramatiq 2.2"
# pages = [
#     "https://dramatiq.io/guide.html",
#     "https://dramatiq.io/reference.html#dramatiq.brokers.rabbitmq.RabbitmqBroker",
# ]
# how = "durable queue, publisher confirms, 8 threads (the default); results in Redis, appended to disk each second"
# needs = ["rabbitmq", "redis"]
# drained = 5000
# outcomes = "redis DBSIZE"
# ///
"""dramatiq: RabbitMQ carries the messages, Redis keeps the results (it has no backend for PostgreSQL)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from _peer import BROKER_URL, REDIS_URL, Peer, main, ran

KEPT_MS = 86_400_000
"""How long results are kept; the default is ten minutes."""

broker = RabbitmqBroker(url=BROKER_URL, confirm_delivery=True)
broker.add_middleware(Results(backend=RedisBackend(url=REDIS_URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name="noop", store_results=True, result_ttl=KEPT_MS)
def noop(number: int) -> int:
    """Do what every task does."""
    return ran(number)


class DramatiqPeer(Peer):
    """See the module."""

    def setup(self) -> None:
        broker.declare_queue("default", ensure=True)

    def one(self, number: int) -> str:
        return str(noop.send(number).message_id)

    def many(self, numbers: Sequence[int]) -> None:
        for number in numbers:  # it has no bulk call
            noop.send(number)

    def close(self) -> None:
        broker.close()

    def work(self) -> None:
        program = str(Path(sys.executable).parent / "dramatiq")
        options = ["--processes", "1", "--threads", "8", "--path", str(Path(__file__).parent)]
        os.execve(program, [program, "dramatiq_tasks", *options], os.environ)


if __name__ == "__main__":
    main(DramatiqPeer())
