"""What failures have in common: the task's type, the class of the exception, and where the handler's code was."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from task_contracts import _limits as limits
from task_contracts._enums import ErrorCode
from task_contracts._insight import OTHER_TYPE
from task_contracts._json import storable_text

_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class FailureKind:
    """A kind of failure. Whatever the texts hold, it can be stored: they are cut and cleaned when it is made.

    Args:
        type: of the task.
        exception: the class with its module; for a failure without an exception the code of its error.
        frame: module and function of the handler's own code, such as `reports.build in render`; empty if there is none.

    """

    type: str
    exception: str
    frame: str = ""

    def __post_init__(self) -> None:
        """Make the texts storable."""
        for name in self.__slots__:
            object.__setattr__(self, name, storable_text(getattr(self, name), limits.FAILURE_PART_CHARS))

    @property
    def fingerprint(self) -> str:
        """Its hash; `other` for `OTHER_FAILURE`.

        It is the first 16 hex digits of the SHA-256 of the three texts, a line feed between them, as UTF-8.
        """
        if self == OTHER_FAILURE:
            return OTHER_TYPE
        return sha256("\n".join((self.type, self.exception, self.frame)).encode()).hexdigest()[:_HASH_DIGITS]


OTHER_FAILURE = FailureKind(OTHER_TYPE, OTHER_TYPE)
"""Stands in counts for every kind beyond those that there is room for."""
REJECTED_FAILURE = FailureKind(OTHER_TYPE, ErrorCode.UNKNOWN_TYPE)
"""Every task whose type nobody offers: the words of callers would take the room of all other kinds."""
