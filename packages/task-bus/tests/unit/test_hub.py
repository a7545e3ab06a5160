from __future__ import annotations

import pytest

from task_bus import BrokerQueue, MemoryHub, UnroutableError
from task_bus._memory.hub import MemoryQueue
from task_bus._queues import DEAD_MAX
from task_contracts import Priority


class Taker:
    """A consumer with room for so many."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[bytes] = []

    @property
    def has_room(self) -> bool:
        return len(self.taken) < self.room

    def take(self, body: bytes) -> None:
        self.taken.append(body)


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


def test_consumers_take_turns(queue):
    takers = [Taker(3), Taker(3)]
    for taker in takers:
        queue.join(taker)

    for body in (b"1", b"2", b"3", b"4"):
        queue.put(body)

    assert [taker.taken for taker in takers] == [[b"1", b"3"], [b"2", b"4"]]


def test_whoever_has_no_room_is_passed_over(queue):
    full, roomy = Taker(1), Taker(9)
    for taker in (full, roomy):
        queue.join(taker)

    for body in (b"1", b"2", b"3", b"4"):
        queue.put(body)

    assert (full.taken, roomy.taken) == ([b"1"], [b"2", b"3", b"4"])


def test_what_is_given_back_comes_before_what_is_ready_in_the_order_of_giving(queue):
    queue.put(b"3")
    queue.put_back(b"1")
    queue.put_back(b"2")

    queue.join(taker := Taker(9))

    assert taker.taken == [b"1", b"2", b"3"]


def test_whoever_left_gets_nothing(queue):
    taker = Taker(9)
    queue.join(taker)

    queue.leave(taker)
    queue.leave(taker)
    queue.put(b"1")

    assert (taker.taken, len(queue)) == ([], 1)


def test_declaring_again_keeps_what_is_there():
    hub, queue = MemoryHub(), BrokerQueue("default", Priority.HIGH)
    hub.declare(queue)
    hub.queue(queue).put(b"1")

    hub.declare(queue)

    assert len(hub.queue(queue)) == 1


def test_an_undeclared_queue_is_unroutable():
    with pytest.raises(UnroutableError):
        MemoryHub().queue(BrokerQueue("default", Priority.LOW))


def test_the_dead_are_bounded_and_the_oldest_make_room():
    hub = MemoryHub()
    for number in range(DEAD_MAX + 1):
        hub.dead.append(b"%d" % number)

    assert (len(hub.dead), hub.dead[0]) == (DEAD_MAX, b"1")
