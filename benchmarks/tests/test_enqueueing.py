"""What `_peer` asks of every peer, whether its library blocks or not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))
import _peer


class Blocking(_peer.Peer):
    """A peer whose library blocks."""

    def __init__(self) -> None:
        self.enqueued: list[int] = []

    def one(self, number: int) -> str:
        self.enqueued.append(number)
        return f"id of {number}"

    def many(self, numbers: Sequence[int]) -> None:
        self.enqueued += numbers


class Awaited(Blocking):
    """The same with a library for event loops."""

    async def one(self, number: int) -> str:
        return super().one(number)

    async def many(self, numbers: Sequence[int]) -> None:
        super().many(numbers)


@pytest.mark.parametrize("peer_type", [Blocking, Awaited])
@pytest.mark.parametrize("enqueue", [_peer._one_by_one, _peer._many])
async def test_every_number_is_enqueued_once_in_order(peer_type: type[Blocking], enqueue: Any) -> None:
    peer = peer_type()

    answer = await _peer._enqueue(peer, enqueue, range(5, 15))

    assert peer.enqueued == [*range(5, 15)]
    assert answer["seconds"] > 0


@pytest.mark.parametrize("peer_type", [Blocking, Awaited])
async def test_at_a_pace_each_has_an_id_and_was_accepted_after_the_call(peer_type: type[Blocking]) -> None:
    peer = peer_type()

    answer = await _peer._enqueue(peer, _peer._paced, range(5, 15), 500.0)

    assert sorted(peer.enqueued) == [*range(5, 15)]
    assert answer["ids"] == {number: f"id of {number}" for number in range(5, 15)}
    assert all(answer["called"][number] <= answer["accepted"][number] for number in range(5, 15))
    # The tenth is due 9/500 s after the first: nothing is enqueued early.
    assert answer["called"][14] - answer["called"][5] >= 9 / 500 - 0.001
