"""Builds the request of each call of the REST API. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeVar
from urllib.parse import quote
from uuid import UUID

from task_client._call import Call
from task_client._filters import as_json, as_params
from task_contracts import JsonValue, Priority, View

Id = TypeVar("Id", UUID, UUID | str)

_API = "/api/v1"
_TASKS = f"{_API}/tasks"
_EVENTS = f"{_API}/events"
_KEYS = f"{_API}/keys"
_PAUSES = f"{_API}/pauses"
_EVENT_STREAM = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
IDS_IN_A_QUERY = 100
"""More ids go into a body: a proxy may refuse a URL of more than 8 KiB."""


def create(content: bytes, key: str, *, is_key_known: bool) -> Call:
    """POST a task. With its key, a repeat of the same bytes creates nothing more."""
    return _keyed(_TASKS, content, key, is_key_known)


def create_batch(content: bytes, key: str, *, is_key_known: bool) -> Call:
    """POST up to 1,000 tasks at once: all of them or none."""
    return _keyed(f"{_TASKS}/batch", content, key, is_key_known)


def get(task_id: UUID | str) -> Call:
    """GET a task with all its fields."""
    return Call("GET", _path(task_id), is_repeated=True)


def status(task_id: UUID | str, held_seconds: int = 0) -> Call:
    """GET a task's state; the service may hold the answer back for some seconds, until the task has ended."""
    headers = {"Prefer": f"wait={held_seconds}"} if held_seconds else {}
    return Call("GET", f"{_path(task_id)}/status", headers=headers, held_seconds=held_seconds, is_repeated=True)


def cancel(task_id: UUID | str) -> Call:
    """DELETE a task: cancel it, or request that if it is running."""
    return Call("DELETE", _path(task_id), is_repeated=True)


def rerun(task_id: UUID | str) -> Call:
    """POST another run of a task that is FAILED or CANCELLED. A repeat could run it twice."""
    return Call("POST", f"{_path(task_id)}/rerun", is_repeat_safe=False)


def update(
    task_id: UUID | str,
    priority: Priority | None,
    run_at: datetime | Literal["now"] | None,
    if_version: int | None,
) -> Call:
    """PATCH a waiting task. With a version, a repeat would find that the first has changed it."""
    body: dict[str, JsonValue] = {}
    if priority is not None:
        body["priority"] = priority.value
    if run_at is not None:
        body["run_at"] = None if run_at == "now" else run_at.isoformat()
    headers = {} if if_version is None else {"If-Match": f'W/"{if_version}"'}
    return Call("PATCH", _path(task_id), content=_encoded(body), headers=headers, is_repeated=if_version is None)


def change_many(
    verb: Literal["cancel", "rerun"], filters: Mapping[str, object], *, is_all: bool, is_dry_run: bool
) -> Call:
    """POST a cancel or a rerun of many tasks: the first call of a loop over cursors.

    The first rerun has no cursor yet, so a repeat could run again what has ended in between.
    """
    body: dict[str, JsonValue] = {"filter": as_json(filters)} if filters or not is_all else {"all": True}
    content = _encoded({**body, "dry_run": is_dry_run})
    is_safe = verb == "cancel" or is_dry_run
    return Call("POST", f"{_TASKS}/{verb}", content=content, is_repeated=is_safe, is_repeat_safe=is_safe)


def change_more(call: Call, cursor: str) -> Call:
    """POST the call over many tasks that goes on from a cursor. A repeat changes nothing twice."""
    body = json.loads(call.content or b"{}") | {"cursor": cursor}
    return replace(call, content=_encoded(body), is_repeated=True, is_repeat_safe=True)


def page(filters: Mapping[str, object], view: View, cursor: str | None = None, include_total: bool = False) -> Call:
    """GET one page of a list."""
    params = [*as_params(filters)]
    if view is View.FULL:
        params.append(("view", view))
    if include_total:
        params.append(("include_total", "true"))
    first = Call("GET", _TASKS, tuple(params), is_repeated=True)
    return first if cursor is None else after(first, cursor)


def after(call: Call, cursor: str) -> Call:
    """GET the page after the one that returned this cursor."""
    params = tuple(pair for pair in call.params if pair[0] != "cursor")
    return replace(call, params=(*params, ("cursor", cursor)))


def events_of_one(task_id: UUID | str, last_event_id: str | None = None) -> Call:
    """GET the stream of one task's changes."""
    return Call("GET", f"{_path(task_id)}/events", headers=_resumed(last_event_id))


def events(filters: Mapping[str, object], last_event_id: str | None = None) -> Call:
    """Ask for the stream of the changes of many tasks: GET, or POST where there are many ids."""
    params = as_params(filters)
    headers = _resumed(last_event_id)
    if sum(name == "id" for name, _ in params) <= IDS_IN_A_QUERY:
        return Call("GET", _EVENTS, params, headers=headers)
    return Call("POST", _EVENTS, content=_encoded(as_json(filters)), headers=headers)


def attempts(task_id: UUID | str) -> Call:
    """GET every attempt of a task."""
    return Call("GET", f"{_path(task_id)}/attempts", is_repeated=True)


def explain(task_id: UUID | str) -> Call:
    """GET why a task is where it is."""
    return Call("GET", f"{_path(task_id)}/explain", is_repeated=True)


def demand(queue: str, target_wait_seconds: float | None) -> Call:
    """GET how many workers a queue wants."""
    params = () if target_wait_seconds is None else (("target_wait_seconds", f"{target_wait_seconds:g}"),)
    return Call("GET", f"{_API}/queues/{quote(queue, safe='')}/demand", params, is_repeated=True)


def look(what: Literal["stats", "queues", "errors", "workers", "types", "version"]) -> Call:
    """GET what the service says of itself."""
    return Call("GET", f"{_API}/{what}", is_repeated=True)


def create_key(content: bytes) -> Call:
    """POST a key. A repeat would create another one."""
    return Call("POST", _KEYS, content=content, is_repeat_safe=False)


def keys(include_revoked: bool) -> Call:
    """GET the keys."""
    params = (("include_revoked", "true"),) if include_revoked else ()
    return Call("GET", _KEYS, params, is_repeated=True)


def revoke_key(key_id: str) -> Call:
    """DELETE a key.

    Raises:
        ValueError: it is the text of a key, which must not stand in a URL.

    """
    if key_id.startswith("ts_"):
        raise ValueError("give the id of the key, which stands in it between the two underscores, not its whole text")
    return Call("DELETE", f"{_KEYS}/{quote(key_id, safe='')}", is_repeated=True)


def audit(filters: Mapping[str, object], cursor: str | None = None) -> Call:
    """GET one page of what operators did."""
    first = Call("GET", f"{_API}/audit", as_params(filters), is_repeated=True)
    return first if cursor is None else after(first, cursor)


def pause(content: bytes) -> Call:
    """POST a pause. A repeat would make another one, so that ending one of them would not be enough."""
    return Call("POST", _PAUSES, content=content, is_repeat_safe=False)


def pauses(include_ended: bool) -> Call:
    """GET the pauses."""
    params = (("include_ended", "true"),) if include_ended else ()
    return Call("GET", _PAUSES, params, is_repeated=True)


def resume(pause_id: UUID | str) -> Call:
    """DELETE a pause: end it."""
    return Call("DELETE", f"{_PAUSES}/{as_id(pause_id)}", is_repeated=True)


def live() -> Call:
    """GET whether the process answers at all."""
    return Call("GET", "/health/live")


def ready() -> Call:
    """GET whether the service takes requests. Here a 503 is an answer too."""
    return Call("GET", "/health/ready", answers=frozenset({503}))


def as_id(task_id: UUID | str) -> UUID:
    """Return the id of a task, or of a pause, as a UUID.

    Raises:
        ValueError: it is not one.

    """
    return task_id if isinstance(task_id, UUID) else UUID(task_id)


def in_queries(ids: Iterable[Id]) -> list[tuple[Id, ...]]:
    """Return ids in groups, each of which fits into the query of a list."""
    every = tuple(ids)
    return [every[first : first + IDS_IN_A_QUERY] for first in range(0, len(every), IDS_IN_A_QUERY)]


def _keyed(path: str, content: bytes, key: str, is_key_known: bool) -> Call:
    headers = {"Idempotency-Key": key}
    return Call("POST", path, content=content, headers=headers, is_repeated=True, is_repeat_safe=is_key_known, key=key)


def _path(task_id: UUID | str) -> str:
    return f"{_TASKS}/{as_id(task_id)}"


def _resumed(last_event_id: str | None) -> dict[str, str]:
    return _EVENT_STREAM if last_event_id is None else {**_EVENT_STREAM, "Last-Event-ID": last_event_id}


def _encoded(body: dict[str, JsonValue]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
