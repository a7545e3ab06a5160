"""Loggers of this project's packages: they write as the process has set them up, whatever code of users configures.

That code calls `logging.config.dictConfig`, which disables every logger that it does not name and takes the root's
handlers away, `logging.basicConfig(force=True)`, `logging.disable`. All of it counts for every other logger.

**Invariants**

- From `write_to` to `write_as_usual` a record of an own logger goes to one handler, and nowhere else. The level
  that was given there decides alone: no setting of the logger, of the root or of `logging` itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

_PACKAGES = frozenset(
    f"task_{name}"
    for name in ("api", "bus", "client", "contracts", "migrations", "runtime", "service", "store", "worker")
)


@dataclass(frozen=True)
class Output:
    """The handler to which own loggers write, and the lowest level that is written."""

    handler: logging.Handler
    level: int


class _Outputs:
    current: Output | None = None


class _OwnLogger(logging.Logger):
    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 # of logging
        output = _Outputs.current
        return super().isEnabledFor(level) if output is None else level >= output.level

    def getEffectiveLevel(self) -> int:  # noqa: N802 # as above
        output = _Outputs.current
        return super().getEffectiveLevel() if output is None else output.level

    @property  # structlog reads it
    def disabled(self) -> bool:
        return _Outputs.current is None and bool(self.__dict__.get("disabled"))

    @disabled.setter
    def disabled(self, value: bool) -> None:
        self.__dict__["disabled"] = value

    def handle(self, record: logging.LogRecord) -> None:
        if _Outputs.current is None:
            super().handle(record)
        else:
            _Outputs.current.handler.handle(record)


def write_to(handler: logging.Handler, level: int) -> None:
    """Write what own loggers log from `level` up to `handler`, which nobody else has: others could change it."""
    _Outputs.current = Output(handler, level)
    manager = logging.Logger.manager
    manager.loggerClass = _make_logger  # type: ignore[assignment] # it is only called; for loggers that come later
    for name, logger in list(manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and _is_own(name):
            logger.__class__ = _OwnLogger


def write_as_usual() -> None:
    """Let own loggers write as any other logger does."""
    _Outputs.current = None
    logging.Logger.manager.loggerClass = None


def output() -> Output | None:
    """Return where own loggers write to; None where they write as any other logger does."""
    return _Outputs.current


def _make_logger(name: str) -> logging.Logger:
    return _OwnLogger(name) if _is_own(name) else logging.getLoggerClass()(name)


def _is_own(name: str) -> bool:
    return name.partition(".")[0] in _PACKAGES
