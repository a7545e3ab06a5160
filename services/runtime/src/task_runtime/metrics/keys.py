"""How the page of metrics learns what a key may do. The runtime knows no database: the process says where to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from task_contracts import Scope

ScopesOf: TypeAlias = Callable[[bytes], Awaitable[frozenset[Scope]]]
"""Returns the scopes of the key with this text, none where it is no valid key; raises any error where nobody knows."""
OpenKeys: TypeAlias = Callable[[], AbstractAsyncContextManager[ScopesOf]]
"""Opens a `ScopesOf` on the event loop of the page, which is not that of the process."""
