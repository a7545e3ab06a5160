"""The clients of the API that a handler's context has.

They are the usual ones, but for four things: they tell when the handler waits, make keys under which another attempt
creates no task again, name the span of the attempt where it is traced, and log once in a process that the API refuses
the worker's key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from http import HTTPStatus

import httpx2
from pydantic import SecretStr

from task_client import AsyncTaskClient, TaskClient
from task_runtime import get_logger
from task_worker.create_keys import CreateKeys

_log = get_logger(__name__)


class ContextTaskClient(TaskClient):
    """A synchronous client of one attempt.

    Args:
        base_url: of the API.
        on_wait: called whenever it begins to wait for tasks.
        keys: of the attempt.
        api_key: of the worker; None without one.
        traceparent: names the span of the attempt, in whose trace are the tasks that it creates; None without one.
        transport: as for `TaskClient`.

    """

    def __init__(
        self,
        base_url: str,
        on_wait: Callable[[], None],
        keys: CreateKeys,
        *,
        api_key: SecretStr | None = None,
        traceparent: str | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key=_text(api_key), headers=_headers(traceparent), transport=transport)
        self._on_wait = on_wait
        self._keys = keys
        has_key = api_key is not None

        def look(response: httpx2.Response) -> None:
            _look(response, has_key)

        self._http.event_hooks = {"response": [look]}

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
        api_key: SecretStr | None = None,
        traceparent: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, api_key=_text(api_key), headers=_headers(traceparent), transport=transport)
        self._on_wait = on_wait
        self._keys = keys
        has_key = api_key is not None

        async def look(response: httpx2.Response) -> None:
            _look(response, has_key)

        self._http.event_hooks = {"response": [look]}

    def _begin_to_wait(self) -> None:
        self._on_wait()

    def _key_of(self, content: bytes, given: str | None) -> str:
        return self._keys.of_content(content) if given is None else self._keys.of_own(given)


def _headers(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"traceparent": traceparent}


def _text(api_key: SecretStr | None) -> str | None:
    return None if api_key is None else api_key.get_secret_value()


def _look(response: httpx2.Response, has_key: bool) -> None:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        _log_refused(has_key)


@functools.cache
def _log_refused(has_key: bool) -> None:
    """Log once that handlers get nowhere with the API. Each of them also gets an `UnauthenticatedError`."""
    reason = "TASK_WORKER_API_KEY is unknown, expired or revoked" if has_key else "TASK_WORKER_API_KEY is not set"
    _log.error("api_key_refused", reason=f"{reason}, and the API asks for a key: context.client can do nothing")
