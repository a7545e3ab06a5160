"""The calls on keys, and the audit."""

from __future__ import annotations

from functools import partial
from typing import Annotated, assert_never

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from task_api import cursors, examples
from task_api.access.callers import audit_context, caller_of
from task_api.bodies import KeyBody, strict_route
from task_api.deadlines import answer_within
from task_api.openapi import Responses, answer, errors, header
from task_api.parts import ApiParts
from task_api.problems import invalid, key_not_found, last_key, not_json, unavailable, ungranted
from task_api.queries import AuditQuery, KeysQuery, refuse_repeats
from task_api.routes.answers import API, json_answer
from task_contracts import (
    ApiKey,
    AuditPage,
    CreatedApiKey,
    FieldProblem,
    ItemList,
    KeyText,
    Signal,
    SignalKind,
    limits,
)
from task_store import ApiKeys, Audit, Refusal, Revocation

KEYS = f"{API}/keys"
AUDIT = f"{API}/audit"

_UNKEPT = {"Cache-Control": "no-store"}

CREATE_KEY: Responses = {
    201: answer(
        CreatedApiKey,
        "Created: this is the only time that its text is shown",
        examples.CREATED_KEY,
        **{"Cache-Control": header("No cache keeps a key.", enum=["no-store"])},
    ),
    **errors(examples.TOO_SLOW, examples.UNGRANTED, examples.TOO_LARGE, not_json(), examples.WRONG_KEY, unavailable()),
}
LIST_KEYS: Responses = {
    200: answer(ItemList[ApiKey], "The keys", {"items": [examples.KEY]}),
    **errors(examples.WRONG_QUERY, unavailable()),
}
REVOKE_KEY: Responses = {
    204: {"description": "It is revoked"},
    **errors(examples.UNKNOWN_KEY, last_key(), examples.UNWANTED_QUERY, unavailable()),
}
LIST_AUDIT: Responses = {
    200: answer(AuditPage, "One page", examples.AUDIT),
    **errors(examples.WRONG_QUERY, unavailable()),
}

KeyId = Annotated[str, Path(pattern="^[0-9A-Za-z]{1,64}$", description="The id of a key, which is no secret.")]


class KeyCalls:
    """The calls, one method each. Each answers within `Deadlines.request_seconds`."""

    def __init__(self, parts: ApiParts) -> None:
        self._keys = ApiKeys(parts.callers)
        self._audit = Audit(parts.callers)
        self._access = parts.access
        self._signals = parts.signals
        self._seconds = parts.deadlines.request_seconds

    async def create_key(self, request: Request, body: KeyBody) -> Response:
        """Create a key, and answer its text this once.

        It can have no scope that the caller's key lacks. Not safe to repeat where the answer was lost: revoke what
        nobody holds.
        """
        caller = caller_of(request.scope)
        if lacking := body.scopes - caller.scopes:
            raise ungranted(sorted(lacking))
        text = KeyText.new()
        created = await answer_within(self._seconds, self._keys.create(text, body, audit_context(request)))
        match created:
            case Refusal.EXPIRED:
                raise invalid([FieldProblem(field="body.expires_at", message="must be a time to come")])
            case Refusal.TOO_MANY:
                many = f"there are {limits.API_KEYS_MAX} valid keys, the most: revoke one that nobody needs"
                raise invalid([FieldProblem(field="body", message=many)])
        shown = CreatedApiKey(**dict(created), key=str(text))
        return Response(shown.model_dump_json(), 201, _UNKEPT, media_type="application/json")

    async def list_keys(self, query: Annotated[KeysQuery, Query()]) -> Response:
        """List the valid keys without their texts, the newest first."""
        keys = await answer_within(self._seconds, self._keys.list(with_invalid=query.include_revoked))
        return json_answer(ItemList[ApiKey].model_construct(items=keys).model_dump_json())

    async def revoke_key(self, request: Request, key_id: KeyId) -> Response:
        """Revoke a key: within a second no call takes it any more, and its streams end. A repeat is harmless.

        Where the broker is away it may take 30 seconds. 409: no other key could create one.
        """
        outcome = await answer_within(self._seconds, self._keys.revoke(key_id, audit_context(request)))
        match outcome:
            case Revocation.UNKNOWN:
                raise key_not_found(key_id)
            case Revocation.LAST:
                raise last_key()
            case Revocation.REVOKED:
                self._access.forget()
                self._signals.send(Signal(kind=SignalKind.REVOKED))
                return Response(None, 204)
            case _:
                assert_never(outcome)

    async def list_audit(self, query: Annotated[AuditQuery, Query()]) -> Response:
        """List what operators did, the newest first: changes of many tasks, pauses, and keys.

        Each act was stored together with what it changed.
        """
        reading = self._audit.page(items=query.limit, after=query.cursor, actor=query.actor, action=query.action)
        entries, following = await answer_within(self._seconds, reading)
        page = AuditPage.model_construct(
            items=entries, next_cursor=None if following is None else cursors.encode(following)
        )
        return json_answer(page.model_dump_json())


def add_key_calls(router: APIRouter, parts: ApiParts) -> None:
    """Add the calls to the application's own router."""
    calls = KeyCalls(parts)
    add = partial(
        router.add_api_route, tags=["access"], route_class_override=strict_route(parts.deadlines.body_seconds)
    )
    add(
        KEYS,
        calls.create_key,
        methods=["POST"],
        operation_id="create_key",
        status_code=201,
        responses=CREATE_KEY,
    )
    add(
        KEYS,
        calls.list_keys,
        operation_id="list_keys",
        dependencies=[Depends(refuse_repeats)],
        responses=LIST_KEYS,
    )
    add(
        f"{KEYS}/{{key_id}}",
        calls.revoke_key,
        methods=["DELETE"],
        operation_id="revoke_key",
        status_code=204,
        responses=REVOKE_KEY,
    )
    add(
        AUDIT,
        calls.list_audit,
        operation_id="list_audit",
        dependencies=[Depends(refuse_repeats)],
        responses=LIST_AUDIT,
    )
