"""The command line of `task-service`, and its settings: the command line wins over the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from task_api.settings import ApiSettings
from task_runtime import IN_PROCESS_BROKER, Misconfigured, is_set, read_settings
from task_worker.settings import WorkerSettings

_NO_DATABASE_YET = "postgresql:///tasks"


@dataclass(frozen=True)
class Options:
    """The command line. None leaves a value to the environment."""

    host: str | None
    port: int | None
    data_dir: Path
    handlers: str | None
    is_reloading: bool

    @property
    def has_own_database(self) -> bool:
        """Whether the embedded database is used, since TASK_DATABASE_URL is not set."""
        return not is_set("TASK_DATABASE_URL")

    def own_data_dir(self, named: Path | None) -> Path:
        """Return the folder of the embedded database: `named`, the option of a subcommand, else that of the service.

        Raises:
            Misconfigured: TASK_DATABASE_URL is set, so there is no embedded database.

        """
        if not self.has_own_database:
            raise Misconfigured(
                "TASK_DATABASE_URL names a database of yours, and this is for the embedded one: use pg_dump and"
                " pg_restore for yours, or unset it"
            )
        return named or self.data_dir


@dataclass(frozen=True)
class Settings:
    """The settings of API and worker. Both use the same database and the same broker."""

    api: ApiSettings
    worker: WorkerSettings

    @classmethod
    def read(cls, options: Options, database_url: str | None = None, *, api_url: str | None = None) -> Settings:
        """Read the settings of both, with the addresses of the embedded database and of the API if they are known yet.

        Raises:
            SystemExit: with exit code 2, if a variable is wrong. Each is one line on stderr.

        """
        shared: dict[str, Any] = {}
        if options.has_own_database:
            shared["database_url"] = database_url or _NO_DATABASE_YET
        if not is_set("TASK_BROKER_URL"):
            shared["broker_url"] = IN_PROCESS_BROKER
        given = {"host": options.host, "port": options.port}
        api = read_settings(
            ApiSettings, **shared, **{name: value for name, value in given.items() if value is not None}
        )
        mine: dict[str, Any] = {} if options.handlers is None else {"handlers": options.handlers}
        if not is_set("TASK_WORKER_API_URL"):
            mine["api_url"] = api_url or f"http://127.0.0.1:{api.port}"
        return cls(api, read_settings(WorkerSettings, **shared, **mine))


def default_data_dir() -> Path:
    """Return the default folder of the embedded database, in the user's folder for application data."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "task-service"
