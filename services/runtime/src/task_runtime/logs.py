"""Sets up logging: one line for each event, in one form, for both libraries that log.

Packages log through the standard library (`logging.getLogger(__name__).info("task_claimed", extra={...})`), services
through structlog (`get_logger(__name__).info("task_claimed", task_id=...)`); both give the same line. What is bound
with `structlog.contextvars` (`request_id`, `task_id`, `attempt`, `worker_id`) stands on every line that is written
meanwhile, those of the packages included. Secrets, rows and payloads are left out (`task_runtime.redaction`), and
control and bidirectional characters are escaped: users' texts stand in logs, and a terminal would obey them.

Code of users may configure logging and structlog as it likes: that counts for its own loggers and those of libraries.
The lines of this project's packages stay as they are (`task_runtime.own_loggers`, `get_logger`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, cast

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from task_contracts import printable_text
from task_runtime import own_loggers
from task_runtime.redaction import safe_fields
from task_runtime.tracebacks import safe_traceback

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["console", "json"]
LogTasks = Literal["all", "failures"]


_QUIET = {
    # They log routine events.
    "alembic": logging.WARNING,
    "watchfiles": logging.WARNING,
    # They log URLs, whose query may be secret, and at DEBUG the headers of every response.
    "httpcore2": logging.WARNING,
    "httpx2": logging.WARNING,
    # They log each failed attempt to reconnect as an error; task_bus logs an outage once.
    "aio_pika": logging.CRITICAL,
    "aiormq": logging.CRITICAL,
}
"""The lowest level that is logged, for some libraries."""


_MULTILINE = frozenset({"exception", "stack"})
"""Fields that the console shows below the line of the event."""

_SHARED: Sequence[Processor] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""What both kinds of logger add to an event."""

_PROCESSORS: Sequence[Processor] = (
    structlog.stdlib.filter_by_level,
    *_SHARED,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
)
"""What a logger of structlog does with an event, before the handler renders it."""


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Write the log of this process to stderr, from `level` up, as JSON or as text for people.

    Replaces the root logger's handlers. Warnings of Python become log lines of the logger `py.warnings`. Safe to
    repeat: the last call counts, also for loggers that are in use.
    """
    _configure_structlog()
    root = logging.getLogger()
    root.handlers[:] = [_stderr_handler(log_format)]
    root.setLevel(level)
    own_loggers.write_to(_stderr_handler(log_format), root.level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the structlog logger of a module of this project; `name` is its `__name__`.

    Once `configure_logging` was called, it does not depend on `structlog.configure`, which code of users may call.
    """
    return cast("structlog.stdlib.BoundLogger", _OwnLog(name))


class _OwnLog:
    def __init__(self, name: str) -> None:
        self._usual = structlog.stdlib.get_logger(name)
        self._own = structlog.wrap_logger(
            logging.getLogger(name), processors=_PROCESSORS, wrapper_class=structlog.stdlib.BoundLogger
        ).bind()

    def __getattr__(self, method: str) -> Any:
        return getattr(self._own if own_loggers.has_output() else self._usual, method)


def default_log_format() -> LogFormat:
    """Return the format unless one is set: `console` where stderr is a terminal, else `json`."""
    return "console" if sys.stderr.isatty() else "json"


def default_log_tasks() -> LogTasks:
    """Return which ends of tasks are logged unless one says so: all on a terminal, else failures."""
    return "all" if sys.stderr.isatty() else "failures"


def _configure_structlog() -> None:
    """Have structlog's loggers hand each event to the standard library's, whose handler renders it."""
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # A cached logger would keep the processors of the first call.
        cache_logger_on_first_use=False,
    )


def _stderr_handler(log_format: LogFormat) -> logging.Handler:
    """Return the handler that writes every event, of either library, in one shape."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=(structlog.stdlib.ExtraAdder(), *_SHARED),
            processors=(
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_render_exception),
                _redact,
                *_renderers(log_format),
            ),
        )
    )
    return handler


def _renderers(log_format: LogFormat) -> tuple[Processor, ...]:
    if log_format == "json":
        return (structlog.processors.JSONRenderer(_dumps),)
    has_colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return (_escape, _shorten, structlog.dev.ConsoleRenderer(colors=has_colors, pad_event_to=0, pad_level=False))


def _dumps(event: object, **options: Any) -> str:
    return printable_text(json.dumps(event, ensure_ascii=False, **options))


def _escape(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    """Escape what steers a terminal. Values other than texts are shown by their `repr`, which escapes it too."""
    del logger, method
    return {
        printable_text(key): printable_text(value, is_multiline=key in _MULTILINE) if isinstance(value, str) else value
        for key, value in event_dict.items()
    }


def _shorten(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    """Leave out what a person at a terminal does not look for: the day, microseconds, the module, and the worker."""
    del logger, method
    moment = datetime.fromisoformat(event_dict["timestamp"]).astimezone()
    shown = {key: value for key, value in event_dict.items() if key not in {"logger", "worker_id"}}
    return {**shown, "timestamp": f"{moment:%H:%M:%S}"}


def _render_exception(exc_info: ExcInfo) -> str:
    return safe_traceback(exc_info[1])


def _redact(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    # It runs after the traceback has become text, and turns every value into JSON: otherwise the renderer would turn
    # values into text that has not been checked for secrets.
    del logger, method
    first = {key: event_dict.pop(key) for key in ("timestamp", "level", "event")}
    return safe_fields({**first, **event_dict})
