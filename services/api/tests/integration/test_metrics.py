"""The API counts what it accepts, and knows which types are offered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from task_api.offered_types import OfferedTypes, tell_metrics
from task_contracts import Priority
from task_runtime.metrics.counts import Metrics
from task_runtime.observers import Kind
from task_store import Database, Offer, Workers, new_worker_id


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, pool_size=1) as database:
        yield database


async def test_types_of_live_workers_are_labels_and_others_are_not(database: Database) -> None:
    metrics, workers = Metrics("test", "1"), Workers(database)
    await workers.register(new_worker_id(), Offer(("default",), {"mail": None}), timedelta(seconds=30))
    await OfferedTypes(metrics, workers).ask()

    for type_ in ("mail", "no such type"):
        metrics.accepted(Kind("default", Priority.LOW, type_), 1)

    labels = {"queue": "default", "priority": "LOW"}
    for label in ("mail", "other"):
        assert metrics.registry.get_sample_value("task_service_accepted_total", {**labels, "type": label}) == 1


async def test_a_database_that_is_away_is_shown_and_the_types_stay(database: Database) -> None:
    metrics = Metrics("test", "1")
    await Workers(database).register(new_worker_id(), Offer(("default",), {"mail": None}), timedelta(seconds=30))
    offered = OfferedTypes(metrics, Workers(database))
    await offered.ask()
    async with Database("postgresql://nobody@127.0.0.1:1/none", pool_size=1) as away:
        offered._workers = Workers(away)
        metrics.watch_process(reaches_broker=lambda: True, reaches_database=lambda: offered.reaches_database)
        assert metrics.registry.get_sample_value("task_service_database_up") == 1

        await offered.ask()

    assert metrics.registry.get_sample_value("task_service_database_up") == 0
    metrics.accepted(Kind("default", Priority.LOW, "mail"), 1)
    labels = {"queue": "default", "priority": "LOW", "type": "mail"}
    assert metrics.registry.get_sample_value("task_service_accepted_total", labels) == 1


async def test_without_metrics_nothing_is_asked(database: Database) -> None:
    await database.aclose()  # whoever asks it now fails

    async with tell_metrics(None, database, reaches_broker=lambda: False):
        pass
