"""How many items the next statement over many rows takes: fewer after no answer, more again after success. Pure.

A batch is bounded in bytes as well as in items. What got no answer is never sent again unchanged: the statement may
have been too large for its deadline, and would be each time.
"""

from __future__ import annotations

from collections.abc import Iterable

BATCH_BYTES = 4 << 20
"""The texts (payloads, results, schemas and such) that one statement reads or writes. A single item always fits."""


def text_bytes(*texts: str | None) -> int:
    """Return how large these texts are together as UTF-8. A lone surrogate, which PostgreSQL refuses, counts three."""
    total = 0  # a loop, since `sum` of a generator takes twice as long, and each attempt asks some times
    for text in texts:
        if text:
            total += len(text if text.isascii() else text.encode(errors="surrogatepass"))
    return total


class BatchLimit:
    """The number of items of the next batch: from 1 to `most`, which it begins with.

    It falls to half of a batch that got no answer, and doubles with each full batch that is answered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.items = most
        """How many items the next batch may hold."""

    def fitting(self, sizes_bytes: Iterable[int]) -> int:
        """Return how many of the first items, given their sizes, the next batch may hold; the first one always fits."""
        count = total_bytes = 0
        for size_bytes in sizes_bytes:
            total_bytes += size_bytes
            if count == self.items or (count and total_bytes > BATCH_BYTES):
                break
            count += 1
        return count

    def answered(self, items: int) -> None:
        """Note that a batch of so many items was answered."""
        if items >= self.items:
            self.items = min(self._most, self.items * 2)

    def unanswered(self, items: int) -> None:
        """Note that a batch of so many items (1 or more) got no answer in time."""
        self.items = max(1, min(self.items, items // 2))
