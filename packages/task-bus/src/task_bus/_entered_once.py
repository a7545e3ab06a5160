"""What buses and signals have in common: `async with` connects and disconnects them, once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class EnteredOnce(ABC):
    """Connects when it is entered and disconnects when it is left.

    Raises:
        RuntimeError: it is entered a second time; open another one instead.

    """

    _was_entered = False

    async def __aenter__(self) -> Self:
        if self._was_entered:
            raise RuntimeError(f"this {type(self).__name__} was entered before: open another one")
        self._was_entered = True
        self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    @abstractmethod
    def _connect(self) -> None:
        """Begin to connect, in the background. Never raises because of the broker."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Disconnect within a few seconds, whatever the broker does."""
