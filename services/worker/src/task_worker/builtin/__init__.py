"""The types that come with a worker: `echo`, and `http.request` where there are hosts that it may call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from task_worker.builtin.echo import echo
from task_worker.builtin.http_hosts import HttpHosts
from task_worker.handlers import Handler

__all__ = ["HttpHosts", "built_in", "is_built_in"]


def built_in(http_hosts: HttpHosts | None) -> list[Callable[..., Any]]:
    """Return the decorated functions. Without hosts there is no `http.request`, so a handler of one's own may be it."""
    if http_hosts is None:
        return [echo]
    from task_worker.builtin.http_request import http_request  # here: an HTTP stack that other workers do without

    return [echo, http_request(http_hosts)]


def is_built_in(handler: Handler) -> bool:
    """Whether a handler came with the worker."""
    return handler.function.__module__.startswith(f"{__name__}.")
