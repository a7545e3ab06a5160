"""Servers for tests, for real."""

from __future__ import annotations

import os

import aio_pika
import pytest

from task_bus.testing import GIVEN_QUEUES
from task_bus.testing._given import clean
from task_contracts.testing import an_id


async def test_a_named_server_is_emptied_of_what_tests_left_and_of_nothing_else(private_world, high):
    bus = await private_world.bus()
    await bus.publish(high, [an_id()], timeout=5)
    await bus.aclose()
    async with await aio_pika.connect(private_world.url) as connection, connection.channel() as channel:
        await channel.declare_queue("of-somebody-else", durable=True)

        clean(private_world.url)
        clean(private_world.url)

        await channel.get_queue("of-somebody-else")
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.get_queue(high.name)
    assert high.queue in GIVEN_QUEUES


def test_a_named_server_that_is_away_fails_the_test():
    with pytest.raises(OSError, match="Connect call failed"):
        clean("amqp://guest:guest@127.0.0.1:1/")


def test_a_private_server_shares_neither_node_nor_ports_with_the_machines(rabbitmq_server):
    status = rabbitmq_server.ctl("status")

    assert "task-test-rabbit-" in status
    assert ":5672" not in status


def test_a_failing_command_is_an_error_with_its_text(rabbitmq_server):
    with pytest.raises(RuntimeError, match="no_such_command"):
        rabbitmq_server.ctl("no_such_command")


def test_each_test_has_a_virtual_host_of_its_own(broker_url, rabbitmq_server):
    if "TASK_TEST_BROKER_URL" in os.environ:
        assert broker_url == os.environ["TASK_TEST_BROKER_URL"]
        return
    assert broker_url.rsplit("/", 1)[1] in rabbitmq_server.ctl("list_vhosts")
