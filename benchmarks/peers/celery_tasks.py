# /// script
# requires-python = ">=3.11"
# dependencies = ["celery[sqlalchemy]==5.7.0", "psycopg[binary]==3.3.9"]
#
# [tool.benchmark]
# title = "Celery 5.7"
# pages = [
#     "https://docs.celeryq.dev/en/stable/userguide/optimizing.html",
#     "https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html",
# ]
# how = "quorum queue, publisher confirms, acks late, prefork of 2, prefetch 50 a process; results in PostgreSQL"
# needs = ["postgres", "rabbitmq"]
# drained = 5000
# outcomes = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
# finished = "SELECT task_id, extract(epoch FROM date_done AT TIME ZONE 'UTC') FROM celery_taskmeta"
# ///
"""Celery: RabbitMQ carries the messages, SQLAlchemy keeps the results."""

from collections.abc import Sequence

from celery import Celery

from _peer import BROKER_URL, DATABASE_URL, Peer, main, ran

PROCESSES = 2
"""Prefork runs one process a core (the default); one worker is a parent and these."""

app = Celery("celery_tasks", broker=BROKER_URL, backend=f"db+{DATABASE_URL.replace(':', '+psycopg:', 1)}")
app.conf.update(
    # "Using Quorum Queues": what survives the loss of a node; needs the global QoS off, which Celery detects.
    task_default_queue="bench",
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    # Acknowledged after the run, and given back when a process dies: else a crash loses the tasks it had prefetched.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # "Prefetch Limits": for many short tasks 50 or 150.
    worker_prefetch_multiplier=50,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="noop")
def noop(number: int) -> int:
    """Do what every task does."""
    return ran(number)


class CeleryPeer(Peer):
    def setup(self) -> None:
        app.backend.ResultSession()  # makes its tables, which several processes would race for

    def one(self, number: int) -> str:
        return str(noop.delay(number).id)

    def many(self, numbers: Sequence[int]) -> None:
        with app.producer_or_acquire() as producer:  # Celery has no bulk call; one channel for all is what it advises
            for number in numbers:
                noop.apply_async((number,), producer=producer)

    def work(self) -> None:
        app.worker_main(["worker", f"--concurrency={PROCESSES}", "--loglevel=WARNING"])


if __name__ == "__main__":
    main(CeleryPeer())
