"""`--reload`: loads the handlers again when one of their files changes. If that fails, the last good ones stay."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

from watchfiles import PythonFilter, awatch

from task_runtime import get_logger
from task_worker.builtin import HttpHosts
from task_worker.handlers import Handler, HandlerError
from task_worker.loader import folders_of, forget_modules, load_handlers
from task_worker.places import Places, resolve_places

_log = get_logger(__name__)


class HandlerReloader:
    """Loads the handlers at `places` and the built-in ones, and loads them again when their files change.

    Both arguments are as `load_handlers` takes them.

    Raises:
        HandlerError: they cannot be loaded at the start.

    """

    def __init__(self, places: Places | None, http_hosts: HttpHosts | None = None) -> None:
        self._places = resolve_places(places or ())
        self._http_hosts = http_hosts
        self._keep = frozenset(sys.modules)
        self.handlers: Mapping[str, Handler] = load_handlers(self._places, http_hosts)
        """The handlers by type, as they were last loaded without an error."""

    async def wait_changed(self) -> None:
        """Return once changed handlers are loaded; never, where there are no places.

        If they cannot be loaded, the error is logged and the next change is waited for.
        """
        if not self._places:
            await asyncio.Event().wait()
            return
        async for _ in awatch(*folders_of(self._places), watch_filter=PythonFilter(), recursive=False):
            if self._load():
                return

    def _load(self) -> bool:
        forget_modules(self._places, self._keep)
        try:
            self.handlers = load_handlers(self._places, self._http_hosts)
        except HandlerError as error:
            _log.error(
                "reload_failed", reason=str(error), kept=sorted(self.handlers)
            )  # no traceback: the reason says it
            return False
        _log.info("reloaded", handlers=sorted(self.handlers))
        return True
