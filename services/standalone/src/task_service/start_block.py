"""The block that the service prints at its start: where it listens, what it uses, and warnings."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass

from task_api.startup_warnings import api_startup_warnings
from task_runtime import IN_PROCESS_BROKER, start_block
from task_service.embedded_database import psql_command
from task_service.options import Options, Settings
from task_store import DatabaseFacts
from task_worker.handlers import Handler
from task_worker.process import http_rows
from task_worker.settings import WorkerSettings
from task_worker.startup_warnings import worker_startup_warnings

_NO_RECYCLING = (
    "TASK_WORKER_MAX_TASKS and TASK_WORKER_MAX_MEMORY_MB do nothing in task-service: "
    "database and API are in this process too"
)
_ONE_PROCESS = "TASK_WORKER_PROCESSES does nothing in task-service: it runs one worker, in this process"


@dataclass(frozen=True)
class StartBlock:
    """The rows and warnings of the block, made from what is known once the database has been checked.

    Args:
        api_url: where the API listens; `http://127.0.0.1:9000`.
        revision: that of the database's schema.

    """

    options: Options
    settings: Settings
    api_url: str
    handlers: Mapping[str, Handler]
    facts: DatabaseFacts
    revision: str

    def show(self) -> None:
        """Print the block to stderr; where the log is JSON, as lines of JSON."""
        title = f"task-service {importlib.metadata.version('task-service')} (Ctrl-C stops it)"
        start_block(title, self.rows(), self.warnings(), log_format=self.settings.api.log_format)

    def rows(self) -> list[tuple[str, str]]:
        """Return pairs of label and value, in the order in which they are shown."""
        api, worker = self.settings.api, self.settings.worker
        is_own = self.options.has_own_database
        is_in_process = worker.broker_url.get_secret_value().startswith(IN_PROCESS_BROKER)
        handlers = ", ".join(sorted(self.handlers)) + (", reloaded when changed" if self.options.is_reloading else "")
        return [
            ("API", f"{self.api_url}/api/v1/tasks"),
            ("docs", f"{self.api_url}/docs"),
            ("database", f"{self.options.data_dir if is_own else api.database_url.get_secret_value()}"),
            *([("psql", psql_command(api.database_url.get_secret_value()))] if is_own else []),
            ("PostgreSQL", f"{self.facts.version}, {'embedded' if is_own else 'yours'}"),
            ("schema revision", self.revision),
            ("broker", "in this process" if is_in_process else worker.broker_url.get_secret_value()),
            ("queues", ", ".join(worker.serves)),
            ("handlers", handlers),
            *http_rows(worker),
        ]

    def warnings(self) -> list[str]:
        """Return the startup warnings of API and worker, each once."""
        api = api_startup_warnings(self.settings.api, self.facts, self.revision)
        worker = worker_startup_warnings(self.settings.worker, self.handlers, self.facts, self.revision)
        return list(dict.fromkeys([*api, *worker, *service_startup_warnings(self.settings.worker)]))


def service_startup_warnings(worker: WorkerSettings) -> list[str]:
    """Return the warnings about settings that mean something only to a worker that runs apart."""
    checks = [
        (bool(worker.max_tasks or worker.max_memory_mb), _NO_RECYCLING),
        (worker.processes > 1, _ONE_PROCESS),
    ]
    return [text for is_so, text in checks if is_so]
