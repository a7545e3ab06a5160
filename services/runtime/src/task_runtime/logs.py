"""Sets up logging: one line for each event, in one form, for both libraries that log.

Packages log through the standard library (`logging.getLogger(__name__).info("task_claimed", extra={...})`), services
through structlog (`get_logger(__name__).info("task_claimed", task_id=...)`); both give the same line. What is bound
with `structlog.contextvars` (`request_id`) or given by `log_with` (`task_id`, `attempt`, `worker_id`) stands on every
line that is written meanwhile, those of the packages included. Secrets, rows and payloads are left out
(`task_runtime.redaction`), and control and bidirectional characters are escaped: users' texts stand in logs, and a
terminal would obey them.

Code of users may configure logging and structlog as it likes: that counts for its own loggers and those of libraries.
The lines of this project's packages stay as they are (`task_runtime.own_loggers`, `get_logger`).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from task_contracts import printable_text
from task_runtime import own_loggers
from task_runtime.console import ConsoleRenderer
from task_runtime.log_context import add_log_fields
from task_runtime.redaction import safe_fields
from task_runtime.tracebacks import safe_traceback

_log = logging.getLogger(__name__)

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


_SHARED: Sequence[Processor] = (
    add_log_fields,
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


def configure_logging(level: LogLevel, log_format: LogFormat, number: int | None = None) -> None:
    """Write the log of this process to stderr, from `level` up, as JSON or as text for people.

    `number` is the process's among several under one parent, and stands on each line as `process`.

    Replaces the root logger's handlers. Warnings of Python become log lines of the logger `py.warnings`. Safe to
    repeat: the last call counts, also for loggers that are in use.
    """
    _configure_structlog()
    root = logging.getLogger()
    root.handlers[:] = [_stderr_handler(log_format, number)]
    root.setLevel(level)
    own_loggers.write_to(_stderr_handler(log_format, number), root.level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the structlog logger of a module of this project; `name` is its `__name__`.

    Once `configure_logging` was called, it does not depend on `structlog.configure`, which code of users may call.
    """
    return cast("structlog.stdlib.BoundLogger", _OwnLog(name))


class _OwnLog:
    """A logger of structlog's shape, which hands its events to the output of own loggers where there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._usual = structlog.stdlib.get_logger(name)

    def debug(self, event: str, *args: object, **fields: Any) -> None:
        self.log(logging.DEBUG, event, *args, **fields)

    def info(self, event: str, *args: object, **fields: Any) -> None:
        self.log(logging.INFO, event, *args, **fields)

    def warning(self, event: str, *args: object, **fields: Any) -> None:
        self.log(logging.WARNING, event, *args, **fields)

    def error(self, event: str, *args: object, **fields: Any) -> None:
        self.log(logging.ERROR, event, *args, **fields)

    def critical(self, event: str, *args: object, **fields: Any) -> None:
        self.log(logging.CRITICAL, event, *args, **fields)

    def exception(self, event: str, *args: object, **fields: Any) -> None:
        self.log(logging.ERROR, event, *args, **{"exc_info": True, **fields})

    def log(self, level: int, event: str, *args: object, **fields: Any) -> None:
        output = own_loggers.output()
        if output is None:
            self._usual.log(level, event, *args, **fields)
        elif level >= output.level:
            handler = cast("_StderrHandler", output.handler)  # of `configure_logging`
            handler.write_event(self, logging.getLevelName(level).lower(), event, args, fields)


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


def _stderr_handler(log_format: LogFormat, number: int | None) -> logging.Handler:
    """Return the handler that writes every event, of either library, in one shape."""
    process = {} if number is None else {"process": number}
    return _StderrHandler(
        (
            lambda _logger, _method, event_dict: {**process, **event_dict},
            structlog.processors.ExceptionRenderer(_render_exception),
            _redact,
            *_renderers(log_format),
        )
    )


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes records of logging, and events that are none: making a record of one costs more than its line.

    Args:
        rendering: makes the line of an event that has all its fields.

    """

    def __init__(self, rendering: Sequence[Processor]) -> None:
        super().__init__()
        self._event_line = (*_SHARED, *rendering)
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=(structlog.stdlib.ExtraAdder(), *_SHARED),
                processors=(structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering),
            )
        )

    def write_event(
        self, logger: _OwnLog, method: str, event: str, args: tuple[object, ...], fields: EventDict
    ) -> None:
        """Write an event; `method` names its level. Whatever is wrong with it, its caller goes on, as with a record."""
        try:
            fields["event"] = event % args if args else event
            line: Any = fields
            for processor in self._event_line:
                line = processor(logger, method, line)
            with self.lock or nullcontext():
                self.stream.write(line + self.terminator)
                self.flush()
        except Exception as error:  # noqa: BLE001 # the outermost frame of a line, as `emit` is of a record's
            _say_not_logged(error, logger.name)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # of logging
        """Say in one line that a record cannot be shown: its arguments do not fit, or the `str` of a value raises.

        Python would print the record as it is, and a traceback.
        """
        if record.name != __name__:
            _say_not_logged(sys.exception(), f"{record.pathname}:{record.lineno}")


def _say_not_logged(error: BaseException | None, place: str) -> None:
    if not isinstance(error, OSError):  # else nobody reads stderr any more
        _log.warning("line_not_logged", extra={"place": place, "reason": type(error).__name__})


def _renderers(log_format: LogFormat) -> tuple[Processor, ...]:
    if log_format == "json":
        return (structlog.processors.JSONRenderer(_dumps),)
    return (ConsoleRenderer(),)


def _dumps(event: object, **options: Any) -> str:
    return printable_text(json.dumps(event, ensure_ascii=False, **options))


def _render_exception(exc_info: ExcInfo) -> str:
    return safe_traceback(exc_info[1])


def _redact(logger: WrappedLogger, method: str, event_dict: EventDict) -> EventDict:
    # It runs after the traceback has become text, and turns every value into JSON: otherwise the renderer would turn
    # values into text that has not been checked for secrets.
    del logger, method
    first = {key: event_dict.pop(key) for key in ("timestamp", "level", "event")}
    return safe_fields({**first, **event_dict})
