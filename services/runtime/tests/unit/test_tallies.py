from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from task_runtime.metrics.names import RUN, SECONDS_BUCKETS, STARTED
from task_runtime.metrics.tallies import Counts, Spreads


def shown(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_counts_are_shown_as_the_library_shows_its_own() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    counter, counts = Counter(*STARTED, registry=theirs), Counts(STARTED, ours)
    for type_, count in (("a", 1), ("b", 2), ("a", 3)):
        counter.labels("default", type_, "HIGH").inc(count)
        counts.labels("default", type_, "HIGH").add(count)

    assert shown(ours) == shown(theirs)


def test_spreads_are_shown_as_the_library_shows_its_own() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    histogram, spreads = Histogram(*RUN, buckets=SECONDS_BUCKETS, registry=theirs), Spreads(RUN, SECONDS_BUCKETS, ours)
    drawn = random.Random(7)
    for seconds in (0.0, *SECONDS_BUCKETS, 3_601, *(drawn.expovariate(1) for _ in range(200))):
        histogram.labels("report.build").observe(seconds)
        spreads.labels("report.build").observe(seconds)

    assert shown(ours) == shown(theirs)


def test_a_metric_without_series_is_named() -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    Counter(*STARTED, registry=theirs)
    Counts(STARTED, ours)

    assert shown(ours) == shown(theirs)
