"""The settings of a process, read from its environment once, when the process is put together.

Variables come from the environment and from files of the same name in `/run/secrets` (Docker and Kubernetes secrets);
the environment wins. No other file is read. Each process has one class:

    class WorkerSettings(ProcessSettings):
        model_config = SettingsConfigDict(env_prefix="TASK_WORKER_")

        concurrency: int = Field(50, ge=1, le=1000)                                    # TASK_WORKER_CONCURRENCY
        served_queues: QueueNames | None = Field(None, validation_alias="TASK_WORKER_QUEUES")

    settings = read_settings(WorkerSettings)

The variable of a field is the class's prefix and the field's name. A field whose variable has another name gives it in
full, as its `validation_alias`: so the fields of `ProcessSettings` keep their `TASK_*` names under every prefix. In
code, fields are passed by their own names: `read_settings(WorkerSettings, broker_url="memory://")`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

from task_contracts import QueueName
from task_runtime.addresses import IN_PROCESS_BROKER, BrokerUrl, DatabaseUrl
from task_runtime.exits import Misconfigured
from task_runtime.logs import LogFormat, LogLevel, LogTasks, default_log_format, default_log_tasks

SECRETS_FOLDER = Path("/run/secrets")


def is_set(variable: str) -> bool:
    """Return whether a variable has a value: in the environment, else, if it is not there at all, in a secrets file."""
    if variable in os.environ:
        return bool(os.environ[variable])
    return SECRETS_FOLDER.is_dir() and any(file.name.upper() == variable for file in SECRETS_FOLDER.iterdir())


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names:
        raise ValueError("must name at least one queue")
    return names


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


QueueNames = Annotated[tuple[QueueName, ...], BeforeValidator(_split)]
"""Names of queues, separated by commas in the environment. Repeats are dropped, the order is kept."""


class ProcessSettings(BaseSettings):
    """The settings of every process. Addresses contain passwords, so printing an instance does not show them."""

    model_config = SettingsConfigDict(
        env_prefix="TASK_",
        # Values are not parsed as JSON; lists are split by their own validators.
        enable_decoding=False,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    database_url: DatabaseUrl = Field(validation_alias="TASK_DATABASE_URL")
    broker_url: BrokerUrl = Field(validation_alias="TASK_BROKER_URL")
    queues: QueueNames = Field(("default",), validation_alias="TASK_QUEUES")
    """The queues that exist."""
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field("INFO", validation_alias="TASK_LOG_LEVEL")
    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        default_factory=default_log_format, validation_alias="TASK_LOG_FORMAT"
    )
    log_tasks: Annotated[LogTasks, BeforeValidator(_lower)] = Field(
        default_factory=default_log_tasks, validation_alias="TASK_LOG_TASKS"
    )
    """Which ends of attempts a worker logs."""
    metrics_port: Annotated[int | None, BeforeValidator(_none_if_empty)] = Field(
        None, ge=0, le=65_535, validation_alias="TASK_METRICS_PORT"
    )
    """The port of `/metrics`; None serves none, 0 takes a free one."""
    metrics_host: str = Field("127.0.0.1", min_length=1, validation_alias="TASK_METRICS_HOST")
    """The address of `/metrics`. Without keys whoever reaches it reads the names of queues and types, and how much they
    do."""
    metrics_auth: Annotated[Literal["off", "keys"] | None, BeforeValidator(_none_if_empty)] = Field(
        None, validation_alias="TASK_METRICS_AUTH"
    )
    """Whether `/metrics` wants a key with the scope `metrics`. None: it does not, and the start says so where other
    machines reach `metrics_host`."""

    @property
    def has_metrics_keys(self) -> bool:
        """Whether there is a `/metrics` that wants a key: it has one database connection more."""
        return self.metrics_port is not None and self.metrics_auth == "keys"

    def require_shared_broker(self) -> None:
        """Refuse the in-process broker, for a process that shares its broker with other processes.

        Raises:
            Misconfigured: TASK_BROKER_URL is `memory://`.

        """
        if self.broker_url.get_secret_value().startswith(IN_PROCESS_BROKER):
            raise Misconfigured(
                f"TASK_BROKER_URL: {IN_PROCESS_BROKER} joins nothing but the parts of one process (task-service); "
                "name a RabbitMQ, as in amqp://user:password@host:5672/"
            )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values, the one that wins first. The secrets folder is one only where it exists."""
        del dotenv_settings, file_secret_settings
        secrets = (SecretsSettingsSource(settings_cls, SECRETS_FOLDER),) if SECRETS_FOLDER.is_dir() else ()
        outside = (env_settings, *secrets)
        for source in outside:
            # Only code may use a field's own name: else TASK_WORKER_QUEUES would also set `queues` of that prefix.
            source.config = {**source.config, "validate_by_name": False}
        return init_settings, *outside
