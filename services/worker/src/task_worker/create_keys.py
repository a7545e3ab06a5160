"""Makes the Idempotency-Keys of the tasks that a handler creates, so that the next attempt creates none of them again.

**Invariants**

- A key is made of the task, its run, and what is created: not of the attempt. So another attempt of the same run that
  creates the same, in whatever order, sends the same keys; a rerun sends others.
- Within an attempt, what is created twice is meant twice: the n-th of equal bodies has the number n.
- No key is that of another task: the id stands in front of those that the handler gives, too.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from uuid import UUID

import orjson

OWN_KEY_CHARS = 200
"""The longest key of a handler's own: with what is put around it, it fits into the header."""


class CreateKeys:
    """Makes the keys of one attempt; safe from any of its threads.

    Args:
        task_id: the task whose handler creates others.
        rerun_count: which run of it.

    """

    def __init__(self, task_id: UUID, rerun_count: int) -> None:
        self._run = f"{task_id}:{rerun_count}:"
        self._made: Counter[str] = Counter()
        self._lock = threading.Lock()

    def of_content(self, content: bytes) -> str:
        """Return the key of a create with this body: JSON, whose members may stand in any order."""
        canonical = orjson.dumps(orjson.loads(content), option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(canonical).hexdigest()
        with self._lock:
            number = self._made[digest]
            self._made[digest] += 1
        return f"{self._run}{digest}:{number}"

    def of_own(self, key: str) -> str:
        """Return the key to send for one that the handler gives: the same in each attempt of this run.

        One that was made here stays as it is: an error tells it, so that the create can be repeated.

        Raises:
            ValueError: it is longer than 200 characters.

        """
        if key.startswith(self._run):
            return key
        if len(key) > OWN_KEY_CHARS:
            raise ValueError(
                f"a key in a handler has at most {OWN_KEY_CHARS} characters: it gets the task's id in front"
            )
        return f"{self._run}key:{key}"
