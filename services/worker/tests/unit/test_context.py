from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from task_client import AsyncTaskClient, TaskClient
from task_contracts import Progress, limits
from task_worker import Context, TaskCancelled, UnstorableCheckpointError
from task_worker.checkpoint_write import CheckpointOutcome
from task_worker.context import TaskDetails


class Bench:
    def __init__(self, facts: TaskDetails) -> None:
        self.reported: list[Progress] = []
        self.is_stopped = False
        self.outcomes: list[CheckpointOutcome] = []
        """How the next checkpoints end, if not stored."""
        self.stored: list[str | None] = []
        self.facts = facts
        self.context = self.make(self.facts)

    def make(self, facts: TaskDetails) -> Context:
        return Context(
            facts,
            report=self.reported.append,
            store_checkpoint=self._store_checkpoint,
            is_stopped=lambda: self.is_stopped,
        )

    def _store_checkpoint(self, text: str | None) -> Future[CheckpointOutcome]:
        self.stored.append(text)
        future: Future[CheckpointOutcome] = Future()
        future.set_result(self.outcomes.pop(0) if self.outcomes else CheckpointOutcome.STORED)
        return future


@pytest.fixture
def bench(some_details: Callable[..., TaskDetails]) -> Bench:
    return Bench(
        some_details(
            type="report.build",
            queue="reports",
            labels={"customer": "42"},
            attempt=3,
            rerun_count=1,
            checkpoint_text='{"page": [3]}',
        )
    )


def test_it_says_what_task_it_is(bench: Bench) -> None:
    context, facts = bench.context, bench.facts

    assert (context.id, context.name, context.type, context.queue) == (facts.id, "a task", "report.build", "reports")
    assert (context.labels, context.attempt, context.lease_token) == ({"customer": "42"}, 3, facts.lease_token)
    assert context.rerun_count == 1


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


def test_what_the_attempt_before_has_kept_is_a_copy_each_time(bench: Bench) -> None:
    bench.context.checkpointed["page"].append(4)

    assert bench.context.checkpointed == {"page": [3]}
    assert bench.make(bench.facts._replace(checkpoint_text=None)).checkpointed is None


def test_a_checkpoint_of_plain_code_is_stored_when_it_returns(bench: Bench) -> None:
    bench.context.checkpoint({"page": 4})
    bench.context.checkpoint(None)

    assert bench.stored == ['{"page":4}', None]


async def test_a_checkpoint_on_an_event_loop_is_stored_when_it_is_awaited_and_once(bench: Bench) -> None:
    state = {"page": 4}
    write = bench.context.checkpoint(state)
    state["page"] = 5
    assert bench.stored == []

    await write
    await write

    assert bench.stored == ['{"page":4}']


async def test_in_a_thread_beside_an_event_loop_a_checkpoint_blocks(bench: Bench) -> None:
    await asyncio.to_thread(bench.context.checkpoint, 4)

    assert bench.stored == ["4"]


def test_plain_code_may_have_an_event_loop_of_its_own(bench: Bench) -> None:
    async def inner() -> None:
        await bench.context.checkpoint(4)

    asyncio.run(inner())

    assert bench.stored == ["4"]


async def test_a_checkpoint_that_an_async_handler_does_not_await_is_warned_of(bench: Bench) -> None:
    with pytest.warns(RuntimeWarning, match=r"context\.checkpoint\(…\) was not awaited") as caught:
        bench.context.checkpoint(4)

    assert bench.stored == []
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"rows": [{"owner": object()}]}, "rows.0.owner: is of type object, which is not JSON"),
        (float("nan"), "the value: is not a finite number"),
        ("x" * limits.CHECKPOINT_BYTES, f"the value: is larger than {limits.CHECKPOINT_BYTES} bytes"),
    ],
    ids=["class", "nan", "size"],
)
def test_a_checkpoint_that_cannot_be_stored_is_an_error_that_names_the_place_and_the_class(
    bench: Bench, value: Any, reason: str
) -> None:
    with pytest.raises(UnstorableCheckpointError) as raised:
        bench.context.checkpoint(value)

    assert (str(raised.value), raised.value.reason) == (f"the checkpoint cannot be stored: {reason}", reason)
    assert bench.stored == []


def test_the_largest_checkpoint_is_stored(bench: Bench) -> None:
    bench.context.checkpoint("x" * (limits.CHECKPOINT_BYTES - 2))

    assert len(bench.stored) == 1


@pytest.mark.parametrize(
    ("outcome", "error"),
    [(CheckpointOutcome.REFUSED, UnstorableCheckpointError), (CheckpointOutcome.STOPPED, TaskCancelled)],
)
async def test_a_checkpoint_that_was_not_stored_raises(
    bench: Bench, outcome: CheckpointOutcome, error: type[BaseException]
) -> None:
    bench.outcomes = [outcome, outcome]

    with pytest.raises(error):
        await bench.context.checkpoint(4)
    with pytest.raises(error):
        await asyncio.to_thread(bench.context.checkpoint, 4)


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


def test_threads_that_ask_for_a_client_at_once_get_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    both_ask = threading.Barrier(2)
    make = bench.context._make_sync_client
    made = []

    def make_slowly() -> TaskClient:
        made.append(make())
        with contextlib.suppress(threading.BrokenBarrierError):  # the other cannot come here meanwhile
            both_ask.wait(0.05)
        return made[-1]

    monkeypatch.setattr(bench.context, "_make_sync_client", make_slowly)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: bench.context.sync_client, range(2))

    assert first is second is made[0]
    assert len(made) == 1
    first.close()
