"""What a worker does for the whole fleet while it leads, and the election by which it knows whether it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from task_bus import TaskBus
from task_bus.signals import Signals
from task_runtime import NO_METER, Meter
from task_store import Activities, Dispatches, Failures, Pauses, QueueCounts, Workers
from task_worker.connections import WorkerDatabases
from task_worker.failure_counts import CountFailure
from task_worker.leader.broker_queues import BrokerQueues
from task_worker.leader.count_created import CountCreated
from task_worker.leader.dispatch import Dispatch, TakeDue
from task_worker.leader.election import LeaderElection, Leadership
from task_worker.leader.purge import Purge
from task_worker.leader.purge_counts import PurgeCounts
from task_worker.leader.queue_counts import QueueCounting
from task_worker.leader.queue_window import QueueWindows
from task_worker.leader.reject import Reject
from task_worker.leader.settle import Settle
from task_worker.leader.sweep import Sweep
from task_worker.lease.lease import Lease
from task_worker.settings import WorkerSettings
from task_worker.timings import DispatchTimings

Loop: TypeAlias = Callable[[], Awaitable[None]]


class Leader:
    """Builds the loops of the leader. All of them run on every worker, and wait while another one leads.

    Args:
        settings: of this worker.
        bus, signals: open as long as the loops run.
        databases: where the statements run; `slow` is for those that may take long, and `counting` counts queues.
        lease: of this worker.
        timings: how the dispatch waits.
        meter: counts for this worker.
        on_failure: is told of each task that the leader fails.
        take: takes tasks for this worker itself, as for `Dispatch`.

    """

    def __init__(
        self,
        settings: WorkerSettings,
        bus: TaskBus,
        signals: Signals,
        databases: WorkerDatabases,
        lease: Lease,
        timings: DispatchTimings,
        meter: Meter = NO_METER,
        *,
        on_failure: CountFailure,
        take: TakeDue,
    ) -> None:
        database, self._leadership = databases.pool, (leadership := Leadership())
        workers, slow = Workers(database), Workers(databases.slow)
        windows = QueueWindows(settings.queues, settings.priority_weights)
        queues = BrokerQueues(bus, windows, timings.publish_seconds)
        retention = timedelta(days=settings.retention_days) if settings.retention_days else None
        self._election = LeaderElection(workers, lease, leadership, reaches_broker=lambda: bus.is_connected)
        dispatches = Dispatches(database, databases.slow)
        dispatch = Dispatch(queues, signals, dispatches, workers, leadership, timings, meter, take=take)
        self._loops: dict[str, Loop] = {
            "election": self._election.run,
            "dispatch": dispatch.run,
            "whole_marks": dispatch.run_whole,
            "settle": Settle(Pauses(databases.slow), dispatch, leadership).run,
            "sweep": Sweep(workers, slow, lease, leadership, on_failure, meter).run,
            "reject": Reject(slow, lease, leadership, on_failure).run,
            "purge": Purge(workers, slow, leadership, retention).run,
            "queue_counts": QueueCounting(
                QueueCounts(databases.counting), Activities(database), settings.queues, leadership, meter
            ).run,
            "count_created": CountCreated(Activities(databases.slow), leadership).run,
            "purge_counts": PurgeCounts(
                Failures(databases.slow), Activities(databases.slow), Pauses(databases.slow), leadership
            ).run,
        }

    def loops(self) -> dict[str, Loop]:
        """Return what is to be kept running, by the names that the log shows."""
        return dict(self._loops)

    @property
    def is_leading(self) -> bool:
        """Whether this worker leads."""
        return self._leadership.is_leading

    @property
    def reaches_database(self) -> bool:
        """Whether the database answered the last election."""
        return self._election.reaches_database

    def elect_now(self) -> None:
        """Hold the election at once: this worker has just been registered."""
        self._election.wake()
