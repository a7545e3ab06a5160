"""The name of every metric, what it says, and its labels. The dashboard and the alerts of `deploy/` name no other."""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "task_service"
OTHER = "other"
"""The label of types that no live worker offers, and of what is more than its bound."""

_KIND = ("queue", "type", "priority")


class MetricName(NamedTuple):
    """A metric: its name without `_total`, its help, its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


def _named(name: str, text: str, *labels: str) -> MetricName:
    return MetricName(f"{PREFIX}_{name}", text, labels)


ACCEPTED = _named("accepted", "Tasks that were stored, and new runs of tasks that had ended (RERUN).", *_KIND)
STARTED = _named("attempts_started", "Attempts that began.", *_KIND)
ENDED = _named("attempts_ended", "Attempts whose end was stored, by what happened to the task.", *_KIND, "event")
FINISHED = _named("finished", "Tasks that have ended, by their last status.", *_KIND, "status")
POLL_CLAIMS = _named("poll_claims", "Tasks that came from the table, since no message had brought them in time.")
SECOND_RUNS = _named("second_runs", "Attempts of tasks of which an earlier attempt was lost with its worker.")
LATE_WRITES = _named("late_writes_refused", "Endings, checkpoints and progress of attempts that had lost their task.")
WORKERS_LOST = _named("workers_lost", "Workers that the leader declared dead.")
EXPORT_FAILURES = _named("trace_export_failures", "Batches of spans that the collector did not take.")

COUNTERS = (
    ACCEPTED,
    STARTED,
    ENDED,
    FINISHED,
    POLL_CLAIMS,
    SECOND_RUNS,
    LATE_WRITES,
    WORKERS_LOST,
    EXPORT_FAILURES,
)

WAIT = _named("wait_seconds", "From when a task was due to the begin of its attempt.", "queue", "priority")
RUN = _named("run_seconds", "How long the handler ran in an attempt.", "type")
TOTAL = _named("total_seconds", "From when a task was accepted to its last status, where a worker ended it.", "type")
BATCH = _named("batch_items", "Items of one statement: claim, record, dispatch.", "statement")

HISTOGRAMS = (WAIT, RUN, TOTAL, BATCH)

WAITING = _named("waiting", "Tasks that are due and have not begun; from the leader, at most 10,000.", *_KIND[::2])
OLDEST_WAIT = _named("oldest_wait_seconds", "How long the oldest of them has been due; from the leader.", *_KIND[::2])
RUNNING = _named("running", "Tasks that run; from the leader.", *_KIND[::2])
SLOTS = _named("slots", "Slots of this worker: running, free, or held back.", "state")
LEASE = _named("lease_seconds", "How long a lease of this worker lasts once it is renewed.")
LEASE_REMAINING = _named("lease_remaining_seconds", "How long the lease of this worker lasts; 0 without one.")
IS_LEADER = _named("is_leader", "1 if this worker leads.")
BROKER_UP = _named("broker_up", "1 if this process reaches the broker.")
DATABASE_UP = _named("database_up", "1 if the database answered this process the last time it asked.")
BUILD_INFO = _named("build_info", "1; the labels say what runs.", "process", "version", "python")

GAUGES = (
    WAITING,
    OLDEST_WAIT,
    RUNNING,
    SLOTS,
    LEASE,
    LEASE_REMAINING,
    IS_LEADER,
    BROKER_UP,
    DATABASE_UP,
    BUILD_INFO,
)

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600)
BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


def sample_names() -> frozenset[str]:
    """Return the name of every sample that a scrape may hold: what a query may name."""
    counters = {f"{one.name}_total" for one in COUNTERS}
    histograms = {f"{one.name}_{part}" for one in HISTOGRAMS for part in ("bucket", "count", "sum")}
    return frozenset(counters | histograms | {one.name for one in GAUGES})
