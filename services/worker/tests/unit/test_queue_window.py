from __future__ import annotations

import pytest

from task_contracts import limits
from task_worker.leader.queue_window import WINDOW_IDS, WINDOW_MESSAGES, QueueWindow


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def window(clock: Clock) -> QueueWindow:
    window = QueueWindow(clock)
    window.looked(0, workers=1)
    return window


def test_before_the_first_look_nothing_is_published(clock: Clock) -> None:
    window = QueueWindow(clock)

    assert (window.room, window.should_look) == (0, True)


def test_an_idle_queue_gets_single_ids_without_a_look(window: QueueWindow) -> None:
    assert (window.room, window.message_ids, window.should_look) == (WINDOW_MESSAGES, 1, False)
    window.published(1)
    assert not window.should_look


def test_it_looks_again_after_fifty_messages_or_when_there_is_no_room(window: QueueWindow) -> None:
    for _ in range(49):
        window.published(1)
    assert not window.should_look
    window.published(1)
    assert window.should_look

    window.looked(WINDOW_MESSAGES, workers=1)
    assert (window.room, window.should_look) == (0, True)


def test_after_a_look_without_an_answer_the_next_waits_longer_each_time(clock: Clock) -> None:
    window, pauses = QueueWindow(clock), []
    for _ in range(9):
        pauses.append(window.look_failed())
        assert not window.should_look
        clock.now += pauses[-1]
        assert window.should_look
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]

    window.looked(WINDOW_MESSAGES, workers=1)

    assert window.should_look
    assert window.look_failed() == 0.5


@pytest.mark.parametrize("ready", [0, 1, 199, 200, 5_000])
def test_there_is_never_room_for_more_than_the_window(window: QueueWindow, ready: int) -> None:
    window.looked(ready, workers=1)

    assert window.room == max(0, WINDOW_MESSAGES - ready)
    for _ in range(WINDOW_MESSAGES + 10):
        window.published(50)
        assert 0 <= window.room <= WINDOW_MESSAGES - ready or window.room == 0


def test_messages_grow_to_their_limit_while_one_worker_takes_10000_a_second(window: QueueWindow, clock: Clock) -> None:
    sizes = []
    for _ in range(6):
        for _ in range(50):
            window.published(window.message_ids)
        clock.now += 50 * window.message_ids / 11_000
        window.looked(0, workers=1)
        sizes.append(window.message_ids)

    assert sizes[0] == limits.MESSAGE_IDS_MAX == sizes[-1]


def test_a_window_holds_no_more_ids_than_it_may_however_large_its_messages_are(
    window: QueueWindow, clock: Clock
) -> None:
    window.looked(0, workers=1)
    for _ in range(20):
        window.published(limits.MESSAGE_IDS_MAX)
    clock.now += 0.01
    window.looked(0, workers=1)
    assert (window.message_ids, window.room) == (limits.MESSAGE_IDS_MAX, WINDOW_IDS // limits.MESSAGE_IDS_MAX)

    for left in reversed(range(window.room)):
        window.published(limits.MESSAGE_IDS_MAX)
        assert window.room == left


@pytest.mark.parametrize(
    ("per_second", "workers", "size"), [(20, 1, 1), (500, 1, 25), (480, 2, 12), (4_000, 4, 50), (20_000, 1, 200)]
)
def test_a_message_is_worth_fifty_milliseconds_of_one_worker(
    window: QueueWindow, clock: Clock, per_second: int, workers: int, size: int
) -> None:
    for _ in range(per_second // 10):
        window.published(1)
    clock.now += 0.1

    window.looked(0, workers)

    assert window.message_ids == size


def test_what_is_still_ready_was_not_taken(window: QueueWindow, clock: Clock) -> None:
    for _ in range(100):
        window.published(10)
    clock.now += 1

    window.looked(50, workers=1)

    assert (window.room, window.message_ids) == (150, 25)


def test_a_queue_that_slows_down_gets_small_messages_again(window: QueueWindow, clock: Clock) -> None:
    for _ in range(100):
        window.published(50)
    clock.now += 2
    window.looked(0, workers=1)
    assert window.message_ids == 125

    window.published(50)
    clock.now += 60
    window.looked(0, workers=1)

    assert window.message_ids == 1


def test_a_depth_beyond_what_was_published_is_no_negative_rate(window: QueueWindow, clock: Clock) -> None:
    window.published(1)
    clock.now += 1

    window.looked(500, workers=1)

    assert (window.room, window.message_ids) == (0, 1)
