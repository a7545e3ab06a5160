"""What each call needs: the one table of scopes, and the guard that holds every call to it. The document shows it too.

A call that the table does not name is an error when the application is made: none can be open by oversight.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from task_api.access.access import Access
from task_api.access.callers import put_caller
from task_api.problems import forbidden
from task_contracts import Scope

OPEN: tuple[Scope, ...] = ()
"""For a call that needs no key."""

SECURITY_SCHEME = "key"
"""The name of the scheme in the document."""

SCOPES: Mapping[str, tuple[Scope, ...]] = {
    "create_task": (Scope.TASKS_WRITE,),
    "create_tasks": (Scope.TASKS_WRITE,),
    "cancel_task": (Scope.TASKS_WRITE,),
    "update_task": (Scope.TASKS_WRITE,),
    "rerun_task": (Scope.TASKS_WRITE,),
    "list_tasks": (Scope.TASKS_READ,),
    "get_task": (Scope.TASKS_READ,),
    "get_task_status": (Scope.TASKS_READ,),
    "explain_task": (Scope.TASKS_READ,),
    "list_attempts": (Scope.TASKS_READ,),
    "list_errors": (Scope.TASKS_READ,),
    "stream_task_events": (Scope.TASKS_READ,),
    "stream_events": (Scope.TASKS_READ,),
    "post_events": (Scope.TASKS_READ,),
    "get_stats": (Scope.TASKS_READ,),
    "list_queues": (Scope.TASKS_READ,),
    "get_demand": (Scope.METRICS, Scope.TASKS_READ),
    "list_types": (Scope.TASKS_READ,),
    "get_version": (Scope.TASKS_READ,),
    "list_workers": (Scope.OPERATE,),
    "cancel_tasks": (Scope.OPERATE,),
    "rerun_tasks": (Scope.OPERATE,),
    "list_audit": (Scope.OPERATE,),
    "create_pause": (Scope.OPERATE,),
    "list_pauses": (Scope.OPERATE,),
    "end_pause": (Scope.OPERATE,),
    "create_key": (Scope.KEYS,),
    "list_keys": (Scope.KEYS,),
    "revoke_key": (Scope.KEYS,),
    "get_liveness": OPEN,
    "get_readiness": OPEN,
}
"""The scopes of each call, by its operation id: any one of them lets a caller in."""


def guard_calls(app: FastAPI, access: Access) -> None:
    """Hold every call of `app` that is in its document to the table; call it once all of them are there.

    Raises:
        LookupError: the table does not name a call.

    """
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            scopes = SCOPES.get(route.operation_id or "")
            if scopes is None:
                raise LookupError(f"task_api.access.guard.SCOPES does not name {route.operation_id} ({route.path})")
            if scopes and not access.is_open:
                route.app = _Guarded(route.app, access, scopes)


class _Guarded:
    """A call that lets in whoever has one of its scopes."""

    def __init__(self, app: ASGIApp, access: Access, scopes: tuple[Scope, ...]) -> None:
        self._app = app
        self._access = access
        self._scopes = scopes

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        caller = self._access.cached(scope) or await self._access.caller(scope)
        put_caller(scope, caller)
        if caller.scopes.isdisjoint(self._scopes):
            raise forbidden(*self._scopes)
        await self._app(scope, receive, send)
