"""What `doctor` finds out about the caller's key: whether the service takes it, and what it may do.

It asks for something that each scope allows, and that changes nothing: to cancel, a task that cannot exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from task_client import Scope, TaskClient
    from task_client_cli._session import Session

_NOBODY = UUID(int=0)
_NOTHING = {"id_prefix": "00000000", "limit": 1}


class KeyFinding(NamedTuple):
    """What was found: `text` for people; `scopes` are None where the service does not look at keys."""

    text: str
    id: str | None = None
    scopes: list[str] | None = None
    is_refused: bool = False

    @property
    def value(self) -> dict[str, object]:
        """The same for JSON."""
        return {"id": self.id, "is_refused": self.is_refused, "scopes": self.scopes}


def check_key(session: Session, client: TaskClient) -> KeyFinding:
    """Return what the service says to the key of a session, and what the key may do there.

    Raises:
        TaskClientError: the service does not answer.

    """
    from task_client import KeyText, NotFoundError, UnauthenticatedError

    place, text = session.server.key, session.api_key
    if text is None:
        try:
            client.page(**_NOTHING)  # type: ignore[call-overload] # of fixed filters
        except UnauthenticatedError:
            return KeyFinding("none, and the service asks for one: see --api-key-env", is_refused=True)
        return KeyFinding("none, and the service asks for none")
    key_id = KeyText.parse(text).id
    name = f"{key_id} (from {place})"
    try:
        scopes = _scopes(client, key_id)
    except UnauthenticatedError:
        return KeyFinding(f"{name} is refused: unknown, expired or revoked", key_id, is_refused=True)
    except NotFoundError:
        return KeyFinding(f"{name} is not looked at: the service is older than keys", key_id)
    if scopes is None:
        return KeyFinding(f"{name} is not looked at: the service asks for no keys", key_id)
    return KeyFinding(f"{name} may {', '.join(scopes)}", key_id, [scope.value for scope in scopes])


def _scopes(client: TaskClient, key_id: str) -> list[Scope] | None:
    """Return what a key may do; None if it may read all keys, and is none of them.

    Whether one with `tasks:read` has `metrics` too cannot be found out here: what that allows on the API, both allow.
    """
    from task_client import ForbiddenError, Scope

    try:
        known = {key.id: key.scopes for key in client.list_keys()}
    except ForbiddenError:
        found = [scope for scope, ask in _questions(client).items() if _may(ask)]
        has_metrics = Scope.TASKS_READ not in found and _may(lambda: client.demand("default"))
        return [*found, Scope.METRICS] if has_metrics else found
    return known.get(key_id)


def _questions(client: TaskClient) -> dict[Scope, Callable[[], object]]:
    from task_client import Scope, View

    return {
        Scope.TASKS_READ: lambda: client.page(**_NOTHING),  # type: ignore[call-overload] # as above
        Scope.TASKS_PAYLOAD: lambda: client.page(view=View.FULL, **_NOTHING),  # type: ignore[call-overload] # as above
        Scope.TASKS_WRITE: lambda: client.cancel(_NOBODY),
        Scope.OPERATE: client.workers,
    }


def _may(ask: Callable[[], object]) -> bool:
    from task_client import ForbiddenError, NotFoundError

    try:
        ask()
    except ForbiddenError:
        return False
    except NotFoundError:
        pass  # it was looked for
    return True
