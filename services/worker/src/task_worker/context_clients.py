"""The clients of the API that a handler's context has.

They are the usual ones, but for three things: they tell when the handler waits, make keys under which another attempt
creates no task again, and name the span of the attempt where it is traced.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from task_client import AsyncTaskClient, TaskClient
from task_worker.create_keys import CreateKeys


class ContextTaskClient(TaskClient):
    """A synchronous client of one attempt.

    Args:
        base_url: of the API.
        on_wait: called whenever it begins to wait for tasks.
        keys: of the attempt.
        traceparent: names the span of the attempt, in whose trace are the tasks that it creates; None without one.
        transport: as for `TaskClient`.

    """

    def __init__(
        self,
        base_url: str,
        on_wait: Callable[[], None],
        keys: CreateKeys,
        *,
        traceparent: str | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, headers=_headers(traceparent), transport=transport)
        self._on_wait = on_wait
        self._keys = keys

    def _begin_to_wait(self) -> None:
        self._on_wait()

    def _key_of(self, content: bytes, given: str | None) -> str:
        return self._keys.of_content(content) if given is None else self._keys.of_own(given)


class ContextAsyncTaskClient(AsyncTaskClient):
    """An asynchronous client of one attempt: as `ContextTaskClient`."""

    def __init__(
        self,
        base_url: str,
        on_wait: Callable[[], None],
        keys: CreateKeys,
        *,
        traceparent: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, headers=_headers(traceparent), transport=transport)
        self._on_wait = on_wait
        self._keys = keys

    def _begin_to_wait(self) -> None:
        self._on_wait()

    def _key_of(self, content: bytes, given: str | None) -> str:
        return self._keys.of_content(content) if given is None else self._keys.of_own(given)


def _headers(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"traceparent": traceparent}
