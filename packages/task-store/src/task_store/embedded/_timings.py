"""How long the embedded server may take for what it is asked to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """Time limits of the embedded server, in seconds. The defaults are for a slow disk; tests pass shorter ones.

    Args:
        connect_seconds: for one attempt to connect.
        adopt_seconds: in which a server that was left running must answer, or it is stopped and replaced.
        join_seconds: in which the database of a service must answer that has just taken its data folder.
        fast_seconds: after SIGINT: to disconnect everybody and write a checkpoint.
        immediate_seconds: after SIGQUIT: to end without one. PostgreSQL kills its own children 5 s after it.
        kill_seconds: after SIGKILL.
        leave_seconds: after SIGINT, where this process must end at once.
        log_check_seconds: between two looks at how long the server's log is.

    """

    connect_seconds: float = 5.0
    adopt_seconds: float = 30.0
    join_seconds: float = 10.0
    fast_seconds: float = 10.0
    immediate_seconds: float = 8.0
    kill_seconds: float = 5.0
    leave_seconds: float = 3.0
    log_check_seconds: float = 10.0


USUAL_TIMINGS = ServerTimings()
