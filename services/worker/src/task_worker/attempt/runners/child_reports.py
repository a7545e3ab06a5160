"""What a handler in its process sends to the worker while it runs: progress, and what it keeps for the next attempt.

**Invariants**

- Once its attempt has ended, nothing more is sent: it would be taken as that of the next.
- A message is sent whole: the lock is held meanwhile. It may be taken twice, as a signal handler may report too.
- An answer takes no lock: the thread that holds it may be waiting for just this answer.
"""

from __future__ import annotations

import io
import itertools
import threading
from concurrent import futures

from task_contracts import Progress
from task_worker.attempt.runners.child_messages import ChildCheckpoint, ChildCheckpointAnswer, framed
from task_worker.checkpoint_write import CheckpointOutcome

_numbers = itertools.count()
"""Of all checkpoints of this process: a late answer to one of an earlier attempt is taken for no other's."""


def send(answers: io.BufferedWriter, message: object) -> None:
    """Send one message to the worker."""
    answers.write(framed(message))
    answers.flush()


class ChildReports:
    """The reports of one attempt, from any of its threads, until `close`.

    Args:
        answers: the pipe to the worker.

    """

    def __init__(self, answers: io.BufferedWriter) -> None:
        self._answers = answers
        self._lock = threading.RLock()
        self._is_closed = False
        self._waiting: dict[int, futures.Future[CheckpointOutcome]] = {}

    def report(self, progress: Progress) -> None:
        """Send progress."""
        with self._lock:
            if not self._is_closed:
                send(self._answers, progress)

    def store_checkpoint(self, text: str | None) -> futures.Future[CheckpointOutcome]:
        """Send a checkpoint, and return the future of its outcome."""
        future: futures.Future[CheckpointOutcome] = futures.Future()
        future.set_running_or_notify_cancel()  # a caller that gives up takes nothing back
        with self._lock:
            if self._is_closed:
                future.set_result(CheckpointOutcome.STOPPED)
            else:
                number = next(_numbers)
                self._waiting[number] = future
                send(self._answers, ChildCheckpoint(number, text))
        return future

    def answered(self, answer: ChildCheckpointAnswer) -> None:
        """Give a checkpoint its outcome; nothing if it is of another attempt. Called by the thread that reads."""
        if future := self._waiting.pop(answer.number, None):
            future.set_result(answer.outcome)

    def close(self) -> None:
        """Send nothing more. Threads that still wait for an outcome learn that their attempt has ended."""
        with self._lock:
            self._is_closed = True
        for number in list(self._waiting):
            self.answered(ChildCheckpointAnswer(number, CheckpointOutcome.STOPPED))
