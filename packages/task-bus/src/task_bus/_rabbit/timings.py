"""How long the parts over RabbitMQ wait."""

from __future__ import annotations

from dataclasses import dataclass

from task_contracts import BackOff

_CONNECTING = BackOff(first_seconds=0.1, longest_seconds=5, jitter=0.5)
"""With jitter, so that the processes of a fleet do not come back at once."""


@dataclass(frozen=True)
class BrokerTimings:
    """Deadlines, intervals and pauses, in seconds. Tests pass others; everything else uses these."""

    heartbeat_seconds: int = 10
    """Interval of AMQP's heartbeats where the URL names none."""
    connect_seconds: float = 10
    """Deadline for opening a connection."""
    set_up_seconds: float = 15
    """Deadline for declaring everything and starting all consumers on a new connection."""
    call_seconds: float = 5
    """Deadline for one call to the broker: starting or ending a consumer, a question about a queue, a signal."""
    gather_seconds: float = 0.05
    """Interval between messages with ids of changed tasks, after a few at once: what changes meanwhile goes into the
    next (decision 0020)."""
    quiet_seconds: float = 1
    """How long changes are not told after the broker has returned a message of them, since nobody listens."""
    flush_seconds: float = 1
    """Deadline for sending the verdicts that are pending when the bus is closed."""
    close_seconds: float = 3
    """Deadline for closing a connection, and before that for the end of its tasks."""
    leave_seconds: float = 2
    """How long closing is waited for when the bus is left; what takes longer goes on in the background."""
    watch_seconds: float = 10
    """Interval of the checks whether the broker has forgotten a consumer."""
    redeclare_pause_seconds: float = 0.2
    """A deleted queue is declared again after this: RabbitMQ 3.10 tells its consumers of the deletion only if it finds
    no new queue of that name meanwhile (it took 20 ms). Consumers that were not told notice at their second check."""
    steady_seconds: float = 1
    """A connection that lasted so long was a good one: when it is lost, the next is opened at once."""
    back_off: BackOff = _CONNECTING
    """Pauses between tries to connect."""
