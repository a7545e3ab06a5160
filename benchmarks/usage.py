"""What processes and PostgreSQL have used: processor time, memory, commits, write-ahead log, statements."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import psutil

MB = 1_000_000


def family(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return these processes and all that they have started, as far as they live."""
    found: dict[int, psutil.Process] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found.update({one.pid: one for one in (process, *process.children(recursive=True))})
    return list(found.values())


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, whether or not its parent has heard of it."""
    return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the processor time of these processes and their children, ended ones included, in seconds."""
    total = 0.0
    for process in family(processes):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of these processes and their children, in MB: what several share is divided among them."""
    total = 0.0
    for process in family(processes):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.uss)
    return total / MB
