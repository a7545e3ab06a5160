"""The name of the host on which this process runs; in a container, the container's."""

from __future__ import annotations

import socket

from task_contracts import storable_text

_HOST_CHARS = 253
"""The longest name of a host (RFC 1035)."""


def host_name() -> str:
    """Return the name of this host, as the rows of workers and the log show it: at most 253 characters."""
    return storable_text(socket.gethostname(), _HOST_CHARS)
