from __future__ import annotations

from uuid import uuid4

import pytest

from task_client import AsyncTaskClient, TaskClient
from task_contracts import Progress
from task_worker import Context, TaskCancelled
from task_worker.context import TaskDetails


class Bench:
    def __init__(self) -> None:
        self.reported: list[Progress] = []
        self.is_stopped = False
        self.facts = TaskDetails(
            uuid4(), "a task", "report.build", "reports", {"customer": "42"}, 3, uuid4(), "http://127.0.0.1:9000"
        )
        self.context = Context(self.facts, report=self.reported.append, is_stopped=lambda: self.is_stopped)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_says_what_task_it_is(bench: Bench) -> None:
    context, facts = bench.context, bench.facts

    assert (context.id, context.name, context.type, context.queue) == (facts.id, "a task", "report.build", "reports")
    assert (context.labels, context.attempt, context.lease_token) == ({"customer": "42"}, 3, facts.lease_token)


def test_labels_are_a_copy(bench: Bench) -> None:
    bench.context.labels["customer"] = "43"

    assert bench.context.labels == {"customer": "42"}


@pytest.mark.parametrize(
    ("percent", "kept"), [(0, 0), (33.3, 33.3), (-1, 0), (101, 100), (float("nan"), 0), (float("inf"), 100)]
)
def test_progress_is_kept_within_its_range(bench: Bench, percent: float, kept: float) -> None:
    bench.context.progress(percent, "page\x00 4")

    assert bench.reported == [Progress(percent=kept, message="page� 4")]


def test_a_stop_is_seen_and_raised(bench: Bench) -> None:
    bench.context.raise_if_stopped()
    assert not bench.context.is_stopped

    bench.is_stopped = True

    assert bench.context.is_stopped
    with pytest.raises(TaskCancelled):
        bench.context.raise_if_stopped()


async def test_without_a_client_there_is_nothing_to_close(bench: Bench) -> None:
    assert not bench.context.has_clients
    await bench.context.aclose()


async def test_clients_are_made_when_they_are_asked_for_and_once(bench: Bench) -> None:
    client, sync_client = bench.context.client, bench.context.sync_client
    assert isinstance(client, AsyncTaskClient)
    assert isinstance(sync_client, TaskClient)
    assert (bench.context.client, bench.context.sync_client) == (client, sync_client)
    assert bench.context.has_clients

    await bench.context.aclose()

    assert client._http.is_closed
    assert sync_client._http.is_closed
