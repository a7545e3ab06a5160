"""The keys, the audit and the pauses of a fake service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2

from task_client.testing._answers import RefusedError
from task_contracts import (
    ApiKey,
    ApiKeyCreate,
    AuditAction,
    AuditEntry,
    CreatedApiKey,
    KeyText,
    Pause,
    PauseCreate,
    ProblemCode,
    Scope,
    Task,
    all_scopes,
)

_BEARER = "Bearer "
_TEST = "test"
"""Who creates the keys that no key asked for."""


@dataclass(frozen=True)
class Caller:
    """Who calls: the owner of a key, '' without keys; and what that may do."""

    owner: str
    scopes: frozenset[Scope]

    def check(self, *scopes: Scope) -> None:
        """Refuse who has none of some scopes.

        Raises:
            RefusedError: 403, which names them.

        """
        if self.scopes.isdisjoint(scopes):
            raise RefusedError(403, ProblemCode.FORBIDDEN, f"this needs a key with the scope {' or '.join(scopes)}")


ANYBODY = Caller("", frozenset(Scope))
"""Every caller, where no keys are asked for."""


class FakeKeys:
    """The keys, and which caller a request comes from."""

    def __init__(self, *, are_required: bool) -> None:
        self._are_required = are_required
        self._keys: dict[str, ApiKey] = {}
        self._texts: dict[str, KeyText] = {}

    def caller(self, request: httpx2.Request) -> Caller:
        """Return who has sent a request.

        Raises:
            RefusedError: 401: there is no key, or one that is not valid; it does not say which.

        """
        if not self._are_required:
            return ANYBODY
        header = request.headers.get("authorization", "")
        try:
            text = KeyText.parse(header.removeprefix(_BEARER)) if header.startswith(_BEARER) else None
        except ValueError:
            text = None
        if text is None or self._texts.get(text.id) != text or not _is_valid(self._keys[text.id]):
            raise RefusedError(401, ProblemCode.UNAUTHENTICATED, "send a valid key: Authorization: Bearer ts_…")
        key = self._keys[text.id] = self._keys[text.id].model_copy(update={"last_used_at": _now()})
        return Caller(key.owner, all_scopes(frozenset(key.scopes)))

    def new(self, create: ApiKeyCreate, by: Caller | None = None) -> CreatedApiKey:
        """Create a key, and return it with its text; `by` is None for the test itself.

        Raises:
            RefusedError: 403: the caller's own key lacks a scope that is to be given.

        """
        if by is not None:
            for scope in sorted(create.scopes):
                by.check(scope)
        text = KeyText.new()
        key = ApiKey(
            id=text.id,
            name=create.name,
            owner=create.owner or text.id,
            scopes=sorted(create.scopes),
            created_by=_TEST if by is None else by.owner,
            created_at=_now(),
            expires_at=create.expires_at,
        )
        self._keys[key.id], self._texts[key.id] = key, text
        return CreatedApiKey(**key.model_dump(), key=str(text))

    def all(self, *, include_revoked: bool) -> list[ApiKey]:
        """Return the keys, the oldest first."""
        return [key for key in self._keys.values() if include_revoked or _is_valid(key)]

    def revoke(self, key_id: str) -> None:
        """Revoke a key; a repeat changes nothing.

        Raises:
            RefusedError: 404; or 409, where no key that may create keys and does not expire would be left.

        """
        key = self._keys.get(key_id)
        if key is None:
            raise RefusedError(404, ProblemCode.KEY_NOT_FOUND, f"no key has the id {key_id}")
        if [one.id for one in self._keys.values() if _keeps_the_door_open(one)] == [key_id]:
            raise RefusedError(409, ProblemCode.LAST_KEY, "this is the last key that may create keys")
        if key.revoked_at is None:
            self._keys[key_id] = key.model_copy(update={"revoked_at": _now()})


class FakeAudit:
    """What operators did."""

    def __init__(self) -> None:
        self._entries: list[AuditEntry] = []

    def note(self, action: AuditAction, by: Caller, **fields: Any) -> None:
        """Add an entry."""
        self._entries.append(AuditEntry(id=uuid4(), at=_now(), actor=by.owner, action=action, **fields))

    def newest(self, action: str | None, actor: str | None) -> list[AuditEntry]:
        """Return the entries of an action and an actor, the newest first; None for any."""
        return [
            entry
            for entry in reversed(self._entries)
            if action in {None, entry.action} and actor in {None, entry.actor}
        ]


class FakePauses:
    """The pauses."""

    def __init__(self) -> None:
        self._pauses: dict[UUID, Pause] = {}

    def new(self, create: PauseCreate, by: Caller) -> Pause:
        """Add a pause."""
        now = _now()
        pause = Pause(**create.model_dump(), id=uuid4(), paused_by=by.owner, created_at=now, effective_at=now)
        self._pauses[pause.id] = pause
        return pause

    def all(self, *, include_ended: bool) -> list[Pause]:
        """Return the pauses, the oldest first."""
        return [pause for pause in self._pauses.values() if include_ended or pause.ended_at is None]

    def end(self, pause_id: UUID) -> Pause:
        """End a pause, and return it.

        Raises:
            RefusedError: 404, or 409 where it is over.

        """
        pause = self._pauses.get(pause_id)
        if pause is None:
            raise RefusedError(404, ProblemCode.PAUSE_NOT_FOUND, f"no pause has the id {pause_id}")
        if pause.ended_at is not None:
            raise RefusedError(409, ProblemCode.PAUSE_IS_OVER, f"the pause was over at {pause.ended_at.isoformat()}")
        self._pauses[pause_id] = ended = pause.model_copy(update={"ended_at": _now()})
        return ended

    def end_due(self) -> bool:
        """End the pauses whose time is over, and return whether there were any."""
        now = _now()
        due = [one for one in self.all(include_ended=False) if one.until is not None and one.until <= now]
        self._pauses |= {one.id: one.model_copy(update={"ended_at": one.until}) for one in due}
        return bool(due)

    def cover(self, task: Task) -> bool:
        """Whether a pause that stands covers a task."""
        return any(_covers(pause, task) for pause in self.all(include_ended=False))


def scopes_of(method: str, parts: list[str]) -> tuple[Scope, ...]:
    """Return the scopes of a call: any one of them lets a caller in."""
    match parts:
        case ["keys", *_]:
            return (Scope.KEYS,)
        case ["workers" | "audit" | "pauses", *_] | ["tasks", "cancel" | "rerun"]:
            return (Scope.OPERATE,)
        case ["queues", _, "demand"]:
            return (Scope.METRICS, Scope.TASKS_READ)
        case ["tasks", *_] if method != "GET":
            return (Scope.TASKS_WRITE,)
    return (Scope.TASKS_READ,)


def _is_valid(key: ApiKey) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > _now())


def _keeps_the_door_open(key: ApiKey) -> bool:
    return key.revoked_at is None and key.expires_at is None and Scope.KEYS in key.scopes


def _covers(pause: Pause, task: Task) -> bool:
    wanted: Iterable[tuple[object, object]] = (
        (pause.queue, task.queue),
        (pause.type, task.type),
        (pause.priority, task.priority),
    )
    return all(asked in {None, found} for asked, found in wanted)


def _now() -> datetime:
    return datetime.now(UTC)
