"""A consumer in RabbitMQ, in situations that a real server cannot be made to produce."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from task_bus._delivery import Verdict
from task_bus._rabbit.subscription import RabbitSubscription
from task_bus._wire import encode_due_tasks
from task_contracts.testing import an_id


class _Consumers:
    async def remove(self, consumer) -> None:
        pass


class _AckSender:
    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def settle(self, message, verdict) -> None:
        self.verdicts.append(verdict)


class _Channel:
    async def set_qos(self, *, prefetch_count) -> None:
        pass

    async def get_queue(self, name, *, ensure):
        return self

    async def consume(self, callback):
        return "tag"


@pytest.fixture
def ack_sender() -> _AckSender:
    return _AckSender()


@pytest.fixture
async def subscription(high, inbox, ack_sender) -> RabbitSubscription:
    made = RabbitSubscription(_Consumers(), high, 2, inbox)
    await made.begin(_Channel(), ack_sender)
    return made


def _message() -> SimpleNamespace:
    body = encode_due_tasks([an_id()])
    return SimpleNamespace(body=body, body_size=len(body))


@pytest.fixture
def depth(monkeypatch, subscription):
    """Stand in for the broker's answer: how many messages wait."""
    answer = SimpleNamespace(depth=0, asked=0)

    async def count_ready(connection):
        answer.asked += 1
        return answer.depth

    monkeypatch.setattr(subscription, "_count_ready", count_ready)
    return answer


async def test_what_arrives_after_cancel_goes_back_unseen(subscription, ack_sender, inbox):
    await subscription.cancel()

    await subscription._on_message(ack_sender, _message())

    assert ack_sender.verdicts == [Verdict.PUT_BACK]
    assert inbox.is_empty


async def test_a_verdict_of_an_earlier_connection_frees_no_room_on_this_one(subscription, ack_sender, inbox):
    await subscription._on_message(ack_sender, _message())
    old = await inbox.next()
    later = _AckSender()
    await subscription.begin(_Channel(), later)
    await subscription._on_message(later, _message())

    old.ack()

    assert subscription._held == 1
    assert (ack_sender.verdicts, later.verdicts) == ([Verdict.ACK], [])


async def test_messages_that_wait_at_two_checks_in_a_row_show_that_the_broker_forgot_the_consumer(subscription, depth):
    depth.depth = 3

    assert [await subscription.is_forgotten(None) for _ in range(2)] == [False, True]


async def test_an_empty_queue_shows_nothing_wrong(subscription, depth):
    assert not any([await subscription.is_forgotten(None) for _ in range(5)])


async def test_a_delivery_between_two_checks_shows_that_all_is_well(subscription, ack_sender, depth):
    depth.depth = 3
    checks = []
    for _ in range(4):
        checks.append(await subscription.is_forgotten(None))
        await subscription._on_message(ack_sender, _message())
        subscription._settle(ack_sender, None, Verdict.ACK)

    assert checks == [False] * 4


async def test_a_consumer_that_holds_all_it_may_is_not_checked(subscription, ack_sender, depth):
    depth.depth = 3
    for _ in range(2):
        await subscription._on_message(ack_sender, _message())

    assert not any([await subscription.is_forgotten(None) for _ in range(5)])
    assert depth.asked == 0
