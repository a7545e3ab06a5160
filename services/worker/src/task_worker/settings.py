"""The settings of a worker: environment variables TASK_WORKER_*."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from task_contracts import KeyText, Priority, limits
from task_runtime import ProcessSettings, QueueNames
from task_worker.builtin import HttpHosts
from task_worker.places import resolve_places

_WEIGHT_MAX = 1_000
_PORT_MAX = 65_535
_KEY_VARIABLE = "TASK_WORKER_API_KEY"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""The share of the processor that a container may use: `QUOTA PERIOD`, or `max PERIOD` without a limit."""


def usable_cores(quota: Path = _CPU_QUOTA) -> int:
    """Return how many cores this process may use: of the machine's, by its affinity and by the limit of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(cores, math.ceil(int(allowed) / int(period))))
    except (OSError, ValueError):  # not Linux, an older cgroup, or no limit
        return cores


def _parse_weights(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = value.split(":")
    if len(parts) != len(Priority) or not all(part.strip().isdecimal() for part in parts):
        raise ValueError("must be three numbers for HIGH:MEDIUM:LOW, such as 6:3:1")
    order = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)
    return dict(zip(order, map(int, parts), strict=True))


def _check_weights(weights: dict[Priority, int]) -> dict[Priority, int]:
    if set(weights) != set(Priority) or not all(1 <= weight <= _WEIGHT_MAX for weight in weights.values()):
        raise ValueError("must hold a weight of 1 to 1000 for each of HIGH:MEDIUM:LOW, such as 6:3:1")
    return weights


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _parse_hosts(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return HttpHosts.parse(value) if value.strip() else None


def _resolve(value: Any) -> Any:
    return resolve_places(value) if isinstance(value, str) else value


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _check_key(value: SecretStr | None) -> SecretStr | None:
    return None if value is None else SecretStr(str(KeyText.parse(value.get_secret_value().strip())))


OptionalLimit = Annotated[int | None, BeforeValidator(_none_if_empty)]
Weights = Annotated[dict[Priority, int], BeforeValidator(_parse_weights), AfterValidator(_check_weights)]


class WorkerSettings(ProcessSettings):
    """TASK_WORKER_*, and the settings of every process. Heartbeat, sweep and self-stop are fractions of the lease."""

    model_config = SettingsConfigDict(env_prefix="TASK_WORKER_")

    served_queues: QueueNames | None = Field(None, validation_alias="TASK_WORKER_QUEUES")
    """The queues that this worker serves; all of TASK_QUEUES if left out."""
    concurrency: int = Field(50, ge=1, le=1000)
    """How many tasks run at once."""
    processes: int = Field(1, ge=1, le=100)
    """How many workers run under one parent, each in a process of its own; 1 for one worker without a parent."""
    max_payload_mb: int = Field(64, ge=1, le=65_536)
    """How many MiB of payloads may be in flight before no more tasks are claimed; one task always fits."""
    handlers: Annotated[tuple[str, ...] | None, BeforeValidator(_resolve)] = None
    """The places of handlers: modules, files and folders, separated by commas. Paths become absolute."""
    api_url: str = Field("http://127.0.0.1:9000", pattern=r"^https?://")
    """The URL of the API, for `context.client`."""
    api_key: Annotated[SecretStr | None, BeforeValidator(_none_if_empty), AfterValidator(_check_key)] = None
    """The key for the API, of `context.client`; None where the API asks for none."""
    priority_weights: Weights = Field(default_factory=lambda: {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1})
    lease_seconds: float = Field(30.0, ge=1.0, le=3600.0)
    """How long a worker that is silent keeps its tasks."""
    handler_processes: int = Field(default_factory=usable_cores, ge=1, le=1000)
    """How many handlers that are marked `in_process` run at once."""
    tasks_per_handler_process: int = Field(100, ge=1)
    """After so many tasks a handler's process is replaced."""
    drain_seconds: float = Field(30.0, ge=0.0, le=86_400.0)
    """How long tasks may go on running after the worker was asked to stop."""
    timeout_seconds: float = Field(600.0, ge=limits.TIMEOUT_SECONDS_MIN, le=limits.TIMEOUT_SECONDS_MAX)
    """The longest run of an attempt if neither the task nor its handler sets a limit."""
    max_attempts: int = Field(3, ge=1, le=limits.ATTEMPTS_MAX)
    """How many attempts of a task may fail if neither the task nor its handler sets a limit."""
    retention_days: float = Field(30.0, ge=0.0, le=36_500.0)
    """How many days ended tasks are kept; 0 keeps them for ever."""
    max_tasks: OptionalLimit = Field(None, ge=1)
    """After so many attempts the worker drains and ends; None for never."""
    max_memory_mb: OptionalLimit = Field(None, ge=1)
    """Above so many MiB of resident memory the worker drains and ends; None for never."""
    alive_file: Annotated[Path | None, AfterValidator(_absolute)] = None
    """A file that the worker touches while it is alive. `task-worker check` looks at it."""
    http_hosts: Annotated[HttpHosts | None, BeforeValidator(_parse_hosts)] = None
    """The hosts that `http.request` may call. Without any it is not offered."""

    @model_validator(mode="after")
    def _check_served_queues(self) -> WorkerSettings:
        unknown = sorted(set(self.served_queues or ()) - set(self.queues))
        if unknown:
            raise ValueError(f"these queues of TASK_WORKER_QUEUES are not in TASK_QUEUES: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _check_metrics_ports(self) -> WorkerSettings:
        if self.processes > 1 and (self.metrics_port or 0) + self.processes > _PORT_MAX:
            raise ValueError(
                f"the ports of TASK_METRICS_PORT and TASK_WORKER_PROCESSES go beyond {_PORT_MAX}: each process has one"
            )
        return self

    def of_process(self, number: int) -> WorkerSettings:
        """Return the settings of one of several processes: a metrics port and an alive file of its own."""
        own: dict[str, Any] = {}
        if self.metrics_port:
            own["metrics_port"] = self.metrics_port + number
        if self.alive_file is not None:
            own["alive_file"] = self.alive_file.with_name(f"{self.alive_file.name}.{number}")
        return self.model_copy(update=own)

    def hide_api_key(self) -> None:
        """Remove the key from the environment of this process: handlers, and what they start, would find it there."""
        for name in [name for name in os.environ if name.upper() == _KEY_VARIABLE]:
            del os.environ[name]

    @property
    def serves(self) -> tuple[str, ...]:
        """The queues that this worker serves."""
        return self.served_queues or self.queues
