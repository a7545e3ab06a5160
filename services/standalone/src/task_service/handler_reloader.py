"""`--reload`: new handlers when a file of theirs changes; where it is broken, the last good ones stay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import structlog
from watchfiles import PythonFilter, awatch

from task_worker.builtin import HttpHosts
from task_worker.handlers import Handler, HandlerError
from task_worker.loader import folders_of, forget_modules, load_handlers

_log = structlog.get_logger(__name__)


class HandlerReloader:
    """The handlers at `place`, and the built-in ones: both arguments are as `load_handlers` takes them.

    Raises:
        HandlerError: they cannot be loaded the first time.

    """

    def __init__(self, place: str | None, http_hosts: HttpHosts | None = None) -> None:
        self._place = place
        self._http_hosts = http_hosts
        self._keep = frozenset(sys.modules)
        self.handlers: Mapping[str, Handler] = load_handlers(place, http_hosts)
        """The last that could be loaded."""

    async def wait_changed(self) -> None:
        """Return once there are new handlers, which is never where there is no place for them.

        What cannot be loaded is logged, and the next change is waited for.
        """
        if self._place is None:
            await asyncio.Event().wait()
            return
        async for _ in awatch(*folders_of(self._place), watch_filter=PythonFilter(), recursive=False):
            if self._load(self._place):
                return

    def _load(self, place: str) -> bool:
        forget_modules(place, self._keep)
        try:
            self.handlers = load_handlers(place, self._http_hosts)
        except HandlerError as error:
            _log.error("reload_failed", reason=str(error), kept=sorted(self.handlers))  # says it all
            return False
        _log.info("reloaded", handlers=sorted(self.handlers))
        return True
