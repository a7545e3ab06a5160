"""Counts what happens in this process, for its scrapes.

**Invariants**

- A scrape reads what was counted, and the attributes of the parts that are watched. It asks nothing of anybody.
- The figures of queues are shown by the process that leads, and by no other: two would be added up.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from task_contracts.lifecycle import LIFECYCLE, RECORD, SWEEP, Event
from task_runtime.metrics import names
from task_runtime.metrics.labels import Labels
from task_runtime.metrics.meter import Batched, QueueFigures, WorkerState
from task_runtime.metrics.names import MetricName
from task_runtime.metrics.tallies import Count, Counts, Spread, Spreads
from task_runtime.observers import Kind

_ACCEPTING = frozenset({Event.CREATE, Event.RERUN})
"""Events with which a task waits for its first attempt, or for the first of a new run."""
_ENDING = frozenset({*RECORD, *SWEEP})
"""Events that end an attempt."""
_FINISHING = frozenset(event for event, one in LIFECYCLE.items() if one.target is not None and one.target.is_terminal)
"""Events that end a task."""


class _KindCounters(NamedTuple):
    """The series of one queue, type and priority: looked up once, since a look costs more than a count."""

    label: tuple[str, str, str]
    started: Count
    wait: Spread
    run: Spread
    total: Spread
    by_event: dict[Event, tuple[Count, ...]]
    """The counters of each event that has happened."""


class _Registry(CollectorRegistry):
    """A registry without `_created`, which would double the series."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """An `Observer` and a `Meter`: all counts of one process, in a registry of its own.

    Args:
        process: the name of the process, such as task-api.
        version: of the process.

    """

    def __init__(self, process: str, version: str) -> None:
        self.registry: CollectorRegistry = _Registry(auto_describe=False)
        self._labels = Labels()
        self._kinds: dict[tuple[str, str, str], _KindCounters] = {}
        self._known: dict[Kind, _KindCounters] = {}
        """Those of types that are offered: as bounded as their labels."""
        self._accepted = Counts(names.ACCEPTED, self.registry)
        self._started = Counts(names.STARTED, self.registry)
        self._ended = Counts(names.ENDED, self.registry)
        self._finished = Counts(names.FINISHED, self.registry)
        self._poll_claims = self._counter(names.POLL_CLAIMS)
        self._second_runs = self._counter(names.SECOND_RUNS)
        self._late_writes = self._counter(names.LATE_WRITES)
        self._workers_lost = self._counter(names.WORKERS_LOST)
        self._export_failures = self._counter(names.EXPORT_FAILURES)
        self._wait = Spreads(names.WAIT, names.SECONDS_BUCKETS, self.registry)
        self._run = Spreads(names.RUN, names.SECONDS_BUCKETS, self.registry)
        self._total = Spreads(names.TOTAL, names.SECONDS_BUCKETS, self.registry)
        batches = Histogram(*names.BATCH, buckets=names.BATCH_BUCKETS, registry=self.registry)
        self._batches = {statement: batches.labels(str(statement)) for statement in Batched}
        build = Gauge(*names.BUILD_INFO, registry=self.registry)
        build.labels(process, version, platform.python_version()).set(1)
        self._present = _Present(self._labels)
        self.registry.register(self._present)

    def offer(self, source: str, types: Iterable[str]) -> None:
        """Note which types live workers offer, as `source` knows it: these alone are labels."""
        self._labels.offer(source, types)
        self._known.clear()

    def happened(self, kind: Kind, event: Event, count: int) -> None:
        """Count tasks to which something has happened that ends no attempt of this process, CREATE too."""
        counters = self._of(kind)
        for counter in counters.by_event.get(event) or self._begin_event(counters, event):
            counter.add(count)

    def started(self, kind: Kind, wait_seconds: float) -> None:
        """Count an attempt that began so long after its task was due."""
        counters = self._of(kind)
        counters.started.add()
        counters.wait.observe(max(0.0, wait_seconds))

    def ended(self, kind: Kind, event: Event, run_seconds: float, total_seconds: float) -> None:
        """Count an attempt whose end was stored, and its task where that has ended."""
        counters = self._of(kind)
        for counter in counters.by_event.get(event) or self._begin_event(counters, event):
            counter.add()
        counters.run.observe(max(0.0, run_seconds))
        if event in _FINISHING:
            counters.total.observe(max(0.0, total_seconds))

    def batch(self, statement: Batched, items: int) -> None:
        """Count a statement of so many items."""
        self._batches[statement].observe(items)

    def poll_claimed(self, tasks: int) -> None:
        """Count tasks that were claimed from the table."""
        self._poll_claims.inc(tasks)

    def second_run(self) -> None:
        """Count an attempt of a task of which an earlier attempt was lost."""
        self._second_runs.inc()

    def late_write_refused(self) -> None:
        """Count a write of an attempt that had lost its task."""
        self._late_writes.inc()

    def worker_lost(self) -> None:
        """Count a worker that this one declared dead as the leader."""
        self._workers_lost.inc()

    def export_failed(self) -> None:
        """Count a batch of spans that the collector did not take. Safe from any thread."""
        self._export_failures.inc()

    def watch(self, state: WorkerState) -> None:
        """Show this worker from now on, instead of an earlier one of this process."""
        self._present.worker = state

    def watch_process(self, *, reaches_broker: Callable[[], bool], reaches_database: Callable[[], bool]) -> None:
        """Show from now on what a process without a worker reaches."""
        self._present.reaches_broker, self._present.reaches_database = reaches_broker, reaches_database

    def show_queues(self, now: datetime, figures: Sequence[QueueFigures]) -> None:
        """Show these rows of `queue_now`, read at `now`, as long as the worker of this process leads."""
        self._present.queues = tuple((row, _oldest_wait_seconds(now, row)) for row in figures)

    def _of(self, kind: Kind) -> _KindCounters:
        return self._known.get(kind) or self._find(kind)

    def _find(self, kind: Kind) -> _KindCounters:
        label = queue, type_, priority = (
            self._labels.queue(kind.queue),
            self._labels.type(kind.type),
            str(kind.priority),
        )
        counters = self._kinds.get(label)
        if counters is None:
            counters = self._kinds[label] = _KindCounters(
                label,
                self._started.labels(*label),
                self._wait.labels(queue, priority),
                self._run.labels(type_),
                self._total.labels(type_),
                {},
            )
        if label[:2] == (kind.queue, kind.type):
            self._known[kind] = counters
        return counters

    def _begin_event(self, counters: _KindCounters, event: Event) -> tuple[Count, ...]:
        label, found = counters.label, []
        if event in _ACCEPTING:
            found.append(self._accepted.labels(*label))
        if event in _ENDING:
            found.append(self._ended.labels(*label, str(event)))
        if event in _FINISHING:
            found.append(self._finished.labels(*label, str(LIFECYCLE[event].target)))
        counters.by_event[event] = begun = tuple(found)
        return begun

    def _counter(self, named: MetricName) -> Counter:
        return Counter(*named, registry=self.registry)


class _Present(Collector):
    """The gauges: read at the moment of the scrape, in its thread."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self.worker: WorkerState | None = None
        self.reaches_broker: Callable[[], bool] | None = None
        self.reaches_database: Callable[[], bool] | None = None
        self.queues: tuple[tuple[QueueFigures, float], ...] = ()
        """Each row with how long the oldest of its tasks waits."""

    def collect(self) -> Iterator[Metric]:
        worker = self.worker
        reaches = (self.reaches_broker, self.reaches_database)
        yield from self._queue_gauges()
        slots = {} if worker is None else worker.slots._asdict()
        yield _gauge(names.SLOTS, *(((state,), count) for state, count in slots.items()))
        if worker is not None:
            yield _gauge(names.LEASE, ((), worker.lease_seconds))
            yield _gauge(names.LEASE_REMAINING, ((), worker.lease_remaining_seconds))
            yield _gauge(names.IS_LEADER, ((), worker.is_leading))
            reaches = (lambda: worker.reaches_broker, lambda: worker.reaches_database)
        for name, is_up in zip((names.BROKER_UP, names.DATABASE_UP), reaches, strict=True):
            if is_up is not None:
                yield _gauge(name, ((), is_up()))

    def _queue_gauges(self) -> Iterator[Metric]:
        leads = self.worker is not None and self.worker.is_leading
        rows = [
            ((self._labels.queue(row.queue), str(row.priority)), row, oldest)
            for row, oldest in (self.queues if leads else ())
        ]
        yield _gauge(names.WAITING, *((key, row.waiting) for key, row, _ in rows))
        yield _gauge(names.OLDEST_WAIT, *((key, oldest) for key, _, oldest in rows))
        yield _gauge(names.RUNNING, *((key, row.running) for key, row, _ in rows))


def _oldest_wait_seconds(now: datetime, row: QueueFigures) -> float:
    return 0.0 if row.oldest_due_at is None else max(0.0, (now - row.oldest_due_at).total_seconds())


def _gauge(named: MetricName, *samples: tuple[tuple[str, ...], float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(named.name, named.help, labels=named.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
