"""The API counts what it accepts, and knows which types are offered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from task_api.offered_types import tell_metrics, tell_types
from task_api.offers import STALE_SECONDS, Offers
from task_contracts import Priority
from task_contracts.lifecycle import Event
from task_runtime.metrics.counts import Metrics
from task_runtime.observers import Kind
from task_store import Database, LiveWorkers, Offer, Workers, new_worker_id


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, pool_size=1) as database:
        yield database


async def test_types_of_live_workers_are_labels_and_others_are_not(database: Database) -> None:
    metrics, workers = Metrics("test", "1"), Workers(database)
    await workers.register(new_worker_id(), Offer(("default",), {"mail": None}), timedelta(seconds=30))
    async with Offers(LiveWorkers(database)) as offers:
        await tell_types(metrics, offers)

    for type_ in ("mail", "no such type"):
        metrics.happened(Kind("default", Priority.LOW, type_), Event.CREATE, 1)

    labels = {"queue": "default", "priority": "LOW"}
    for label in ("mail", "other"):
        assert metrics.registry.get_sample_value("task_service_accepted_total", {**labels, "type": label}) == 1


async def test_a_database_that_is_away_is_shown_and_the_types_stay(database: Database) -> None:
    metrics = Metrics("test", "1")
    await Workers(database).register(new_worker_id(), Offer(("default",), {"mail": None}), timedelta(seconds=30))
    now = 0.0
    async with (
        Offers(LiveWorkers(database), clock=lambda: now) as offers,
        Database("postgresql://nobody@127.0.0.1:1/none", pool_size=1) as away,
    ):
        await tell_types(metrics, offers)
        metrics.watch_process(reaches_broker=lambda: True, reaches_database=lambda: offers.reaches_database)
        assert metrics.registry.get_sample_value("task_service_database_up") == 1
        offers._live = LiveWorkers(away)
        now = STALE_SECONDS + 1

        await tell_types(metrics, offers)

    assert metrics.registry.get_sample_value("task_service_database_up") == 0
    metrics.happened(Kind("default", Priority.LOW, "mail"), Event.CREATE, 1)
    labels = {"queue": "default", "priority": "LOW", "type": "mail"}
    assert metrics.registry.get_sample_value("task_service_accepted_total", labels) == 1


async def test_without_metrics_nothing_is_asked(database: Database) -> None:
    await database.aclose()  # whoever asks it now fails

    async with Offers(LiveWorkers(database)) as offers, tell_metrics(None, offers, reaches_broker=lambda: False):
        pass
