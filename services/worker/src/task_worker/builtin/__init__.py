"""The task types that every worker has: `echo`, and `http.request` if it may call any hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from task_worker.builtin.echo import echo
from task_worker.builtin.http_hosts import HttpHosts
from task_worker.handlers import Handler

__all__ = ["HttpHosts", "built_in", "is_built_in"]


def built_in(http_hosts: HttpHosts | None) -> list[Callable[..., Any]]:
    """Return the decorated functions of the built-in types.

    Without hosts there is no `http.request`, and a user's handler may take that type.
    """
    if http_hosts is None:
        return [echo]
    from task_worker.builtin.http_request import http_request  # here: others need no HTTP library

    return [echo, http_request(http_hosts)]


def is_built_in(handler: Handler) -> bool:
    """Return whether a handler is a built-in one."""
    return handler.function.__module__.startswith(f"{__name__}.")
