"""Who calls, as the calls ask for it. The guard of a call has put it into the scope of the request."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.types import Scope as AsgiScope

from task_api.problems import forbidden
from task_contracts import Scope
from task_store import AuditContext, Caller

EVERYBODY = Caller(None, "", frozenset(Scope))
"""Whoever calls where nobody needs a key."""

_CALLER = "task_api.caller"
_REQUEST_ID = "task_api.request_id"


def put_caller(scope: AsgiScope, caller: Caller) -> None:
    """Say whose request it is."""
    scope[_CALLER] = caller


def put_request_id(scope: AsgiScope, request_id: str) -> None:
    """Say which id the request has."""
    scope[_REQUEST_ID] = request_id


def caller_of(scope: AsgiScope) -> Caller:
    """Return whose request it is."""
    caller: Caller = scope.get(_CALLER, EVERYBODY)
    return caller


def shows_payloads(request: Request) -> bool:
    """Return whether payloads, results and tracebacks are answered to this caller."""
    return Scope.TASKS_PAYLOAD in caller_of(request.scope).scopes


def require_payloads(request: Request, what: str) -> None:
    """Refuse a request for `what` by a caller who may not see payloads.

    Raises:
        ProblemError: 403.

    """
    if not shows_payloads(request):
        raise forbidden(Scope.TASKS_PAYLOAD, what=what)


def audit_context(request: Request, filter_: dict[str, Any] | None = None) -> AuditContext:
    """Return who asks, for the audit."""
    return AuditContext(caller_of(request.scope).owner, request.scope.get(_REQUEST_ID), filter_)
