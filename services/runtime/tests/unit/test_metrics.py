from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import generate_latest

from task_contracts import Priority
from task_contracts.lifecycle import Event
from task_runtime.metrics import names
from task_runtime.metrics.counts import Metrics
from task_runtime.metrics.labels import QUEUES_MAX, TYPES_MAX
from task_runtime.metrics.meter import Batched, SlotCounts
from task_runtime.observers import Kind, Observers

MAIL = Kind("default", Priority.HIGH, "mail")
SLOTS = SlotCounts(3, 5, 2)
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@dataclass
class _Worker:
    is_leading: bool = True
    slots: SlotCounts = SLOTS
    lease_seconds: float = 30.0
    lease_remaining_seconds: float = 12.5
    reaches_broker: bool = True
    reaches_database: bool = False


@dataclass
class _Row:
    queue: str
    waiting: int
    oldest_due_at: datetime | None
    priority: str = "HIGH"
    running: int = 4


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics("test", "1.2")
    metrics.offer("test", ["mail"])
    return metrics


def _samples(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def _series(begin: str, kind: dict[str, str]) -> str:
    """Return the name of a series of a kind, with its labels in order."""
    name, _, given = begin.partition("{")
    labels = [*given.rstrip(",").split(","), *(f'{label}="{value}"' for label, value in kind.items())]
    return f"{name}{{{','.join(sorted(filter(None, labels)))}}}"


def test_a_task_is_counted_from_its_acceptance_to_its_end(metrics: Metrics) -> None:
    observers = Observers([metrics])
    observers.happened(MAIL, Event.CREATE, 3)
    observers.started(MAIL, 0.3)
    observers.ended(MAIL, Event.RETRY, 2.0, 9.0)
    observers.ended(MAIL, Event.COMPLETE, 2.0, 9.0)

    found, kind = _samples(metrics), 'priority="HIGH",queue="default",type="mail"'
    assert found[f"task_service_accepted_total{{{kind}}}"] == 3
    assert found[f"task_service_attempts_started_total{{{kind}}}"] == 1
    assert found[f'task_service_attempts_ended_total{{event="RETRY",{kind}}}'] == 1
    assert found['task_service_finished_total{priority="HIGH",queue="default",status="COMPLETED",type="mail"}'] == 1
    assert found['task_service_wait_seconds_bucket{le="0.25",priority="HIGH",queue="default"}'] == 0
    assert found['task_service_wait_seconds_bucket{le="0.5",priority="HIGH",queue="default"}'] == 1
    assert found['task_service_run_seconds_count{type="mail"}'] == 2
    assert found['task_service_total_seconds_sum{type="mail"}'] == 9


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        (Event.RERUN, ["accepted_total{"]),
        (Event.RESCUE, ['attempts_ended_total{event="RESCUE",']),
        (Event.ABANDON, ['attempts_ended_total{event="ABANDON",', 'finished_total{status="FAILED",']),
        (Event.REJECT, ['finished_total{status="FAILED",']),
        (Event.CANCEL, ['finished_total{status="CANCELLED",']),
        (Event.REQUEST_CANCEL, []),
        (Event.RESCHEDULE, []),
    ],
)
def test_what_ends_no_attempt_of_this_process_is_counted_by_its_event_and_takes_no_time(
    metrics: Metrics, event: Event, counted: list[str]
) -> None:
    for count in (5, 2):
        metrics.happened(MAIL, event, count)

    found = {name: value for name, value in _samples(metrics).items() if value and 'type="mail"' in name}
    kind = {"priority": "HIGH", "queue": "default", "type": "mail"}
    assert found == {_series(f"task_service_{one}", kind): 7 for one in counted}


def test_a_clock_that_went_back_counts_as_no_time(metrics: Metrics) -> None:
    metrics.started(MAIL, -5.0)

    assert _samples(metrics)['task_service_wait_seconds_sum{priority="HIGH",queue="default"}'] == 0


def test_a_million_types_make_one_series(metrics: Metrics) -> None:
    for number in range(1_000_000):
        metrics.happened(Kind("default", Priority.LOW, f"type-{number}"), Event.CREATE, 1)

    series = [name for name in _samples(metrics) if name.startswith("task_service_accepted_total")]
    assert series == ['task_service_accepted_total{priority="LOW",queue="default",type="other"}']


def test_types_that_are_offered_and_queues_are_bounded_too(metrics: Metrics) -> None:
    metrics.offer("test", [f"type-{number}" for number in range(2 * TYPES_MAX)])
    for number in range(2 * TYPES_MAX):
        metrics.happened(Kind(f"queue-{number % (2 * QUEUES_MAX)}", Priority.LOW, f"type-{number}"), Event.CREATE, 1)

    found = [name for name in _samples(metrics) if name.startswith("task_service_accepted_total")]
    assert len(found) <= (TYPES_MAX + 1) * (QUEUES_MAX + 1)
    assert any('queue="other",type="other"' in name for name in found)


def test_a_type_that_nobody_offers_any_more_is_other(metrics: Metrics) -> None:
    metrics.happened(MAIL, Event.CREATE, 1)
    metrics.offer("test", [])
    metrics.happened(MAIL, Event.CREATE, 1)

    assert _samples(metrics)['task_service_accepted_total{priority="HIGH",queue="default",type="mail"}'] == 1


def test_what_should_be_rare_and_the_sizes_of_batches_are_counted(metrics: Metrics) -> None:
    metrics.poll_claimed(3)
    metrics.second_run()
    metrics.late_write_refused()
    metrics.export_failed()
    metrics.worker_lost()
    metrics.batch(Batched.CLAIM, 40)

    found = _samples(metrics)
    assert found["task_service_poll_claims_total"] == 3
    assert found["task_service_second_runs_total"] == 1
    assert found["task_service_late_writes_refused_total"] == 1
    assert found["task_service_trace_export_failures_total"] == 1
    assert found["task_service_workers_lost_total"] == 1
    assert found['task_service_batch_items_bucket{le="20.0",statement="claim"}'] == 0
    assert found['task_service_batch_items_bucket{le="50.0",statement="claim"}'] == 1


def test_the_worker_is_shown_as_it_is_at_the_scrape(metrics: Metrics) -> None:
    worker = _Worker()
    metrics.watch(worker)
    worker.is_leading, worker.lease_remaining_seconds = False, 3.0

    found = _samples(metrics)
    assert found['task_service_slots{state="running"}'] == 3
    assert found['task_service_slots{state="held_back"}'] == 2
    assert (found["task_service_lease_seconds"], found["task_service_lease_remaining_seconds"]) == (30, 3)
    assert found["task_service_is_leader"] == 0
    assert found["task_service_broker_up"] == 1
    assert found["task_service_database_up"] == 0


def test_queues_are_shown_by_the_leader_alone(metrics: Metrics) -> None:
    worker = _Worker()
    metrics.watch(worker)
    metrics.show_queues(NOW, [_Row("default", 9, NOW - timedelta(seconds=90)), _Row("mail", 0, None)])

    leading = _samples(metrics)
    worker.is_leading = False
    following = _samples(metrics)

    assert leading['task_service_waiting{priority="HIGH",queue="default"}'] == 9
    assert leading['task_service_oldest_wait_seconds{priority="HIGH",queue="default"}'] == 90
    assert leading['task_service_oldest_wait_seconds{priority="HIGH",queue="mail"}'] == 0
    assert leading['task_service_running{priority="HIGH",queue="mail"}'] == 4
    assert not [name for name in following if "waiting" in name or "oldest" in name]


def test_a_process_without_a_worker_shows_what_it_reaches(metrics: Metrics) -> None:
    metrics.watch_process(reaches_broker=lambda: False, reaches_database=lambda: True)

    found = _samples(metrics)
    assert found["task_service_broker_up"] == 0
    assert found["task_service_database_up"] == 1
    assert "task_service_is_leader" not in found


def test_every_sample_has_a_name_of_the_module_and_every_name_is_shown(metrics: Metrics) -> None:
    metrics.watch(_Worker())
    metrics.show_queues(NOW, [_Row("default", 9, NOW)])
    metrics.happened(MAIL, Event.CREATE, 1)
    metrics.started(MAIL, 1.0)
    metrics.ended(MAIL, Event.FAIL, 1.0, 1.0)

    shown = {sample.name for family in metrics.registry.collect() for sample in family.samples}

    assert shown == names.sample_names()
