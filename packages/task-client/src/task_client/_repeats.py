"""Whether a call is repeated, and after how long. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from task_client._errors import RequestTimeoutError, TaskClientError
from task_contracts import BackOff

_BACK_OFF = BackOff(first_seconds=0.2, longest_seconds=5.0, jitter=0.5)


@dataclass(frozen=True)
class RepeatPolicy:
    """How a client repeats calls that only read, while the service cannot be reached or says that it is unavailable.

    Args:
        tries: how often one call is made at most; 1 and up, and 1 never repeats.
        back_off: the pauses between tries.
        longest_retry_after_seconds: where the service asks for a longer pause, the call is not repeated.

    """

    tries: int = 3
    back_off: BackOff = _BACK_OFF
    longest_retry_after_seconds: float = 5.0

    def pause_seconds(self, error: TaskClientError, tries: int) -> float | None:
        """Return the pause before the next try, after `tries` that failed, the last with `error`; None for no more."""
        asked = error.retry_after or 0.0
        if tries >= self.tries or not error.is_transient or asked > self.longest_retry_after_seconds:
            return None
        if isinstance(error, RequestTimeoutError):
            return None  # this one try has taken all the time that the caller gave
        return max(asked, self.back_off.pause_seconds(tries))
