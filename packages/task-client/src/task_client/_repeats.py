"""Whether a call is repeated, after how long, and what is logged of it. No I/O."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from task_client._errors import NoAnswerError, ProblemError, RequestTimeoutError, TaskClientError
from task_contracts import BackOff

_log = logging.getLogger("task_client")
_BACK_OFF = BackOff(first_seconds=0.2, longest_seconds=5.0, jitter=0.5)


@dataclass(frozen=True)
class RepeatPolicy:
    """How a client repeats calls that may be repeated, while the service is not reached or says that it is unavailable.

    Args:
        tries: how often one call is made at most; 1 and up, and 1 never repeats. With the default (8) a service that
            restarts may take some ten seconds.
        back_off: the pauses between tries.
        longest_retry_after_seconds: where the service asks for a longer pause, the call is not repeated.

    """

    tries: int = 8
    back_off: BackOff = _BACK_OFF
    longest_retry_after_seconds: float = 30.0

    def pause_seconds(self, error: TaskClientError, tries: int) -> float | None:
        """Return the pause before the next try, after `tries` that failed, the last with `error`; None for no more."""
        asked = error.retry_after or 0.0
        if tries >= self.tries or not error.is_transient or asked > self.longest_retry_after_seconds:
            return None
        if isinstance(error, RequestTimeoutError):
            return None  # this one try has taken all the time that the caller gave
        return max(asked, self.back_off.pause_seconds(tries))


NEVER = RepeatPolicy(tries=1)


class Patience:
    """How long a wait goes on through trouble: as often as a call is tried, and to its own end once it had an answer.

    The first trouble in a row is logged as a warning, and so is its end: nobody waits in silence.
    """

    def __init__(self, repeats: RepeatPolicy) -> None:
        self._repeats = repeats
        self._had_answer = False
        self._failures = 0

    def answered(self) -> None:
        """Note that the service has answered."""
        if self._failures:
            _log.warning("the task service answers again")
        self._had_answer, self._failures = True, 0

    def failed(self, error: TaskClientError) -> float:
        """Note an error, and return the seconds to wait before the next try.

        Raises:
            TaskClientError: the error, where no waiting helps or the service has never been reached.

        """
        self._failures += 1
        # Once there was an answer, a wait of hours does not end by one error of the service: it only reads.
        may_pass = error.is_transient or (self._had_answer and isinstance(error, ProblemError) and error.status >= 500)
        if not may_pass or (not self._had_answer and self._failures >= self._repeats.tries):
            raise error
        if self._failures == 1:
            log_trouble(error)
        return max(error.retry_after or 0.0, self._repeats.back_off.pause_seconds(self._failures))


def log_trouble(error: TaskClientError) -> None:
    """Say that a call is tried again, and why."""
    said = f"{error.request}: {error.reason}" if isinstance(error, NoAnswerError) else error
    _log.warning("%s; trying again", said)
