"""Servers for tests, with real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import aio_pika
import pytest

from task_bus.testing import GIVEN_QUEUES, GivenRabbit
from task_bus.testing._given import clean
from task_contracts.testing import an_id

pytestmark = pytest.mark.private_servers


async def test_a_named_server_is_emptied_of_what_tests_left_and_of_nothing_else(private_world, high):
    async with private_world.make_bus() as bus:
        await bus.wait_connected(20)
        await bus.publish(high, [an_id()], timeout=5)
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


def test_a_named_server_with_its_management_api_gives_virtual_hosts_that_come_and_go(rabbitmq_server):
    given = GivenRabbit(rabbitmq_server.url(), rabbitmq_server.management_url)

    given.add_vhost("a test's/own")
    clean(given.url("a test's/own"))
    listed = rabbitmq_server.ctl("list_vhosts")
    given.delete_vhost("a test's/own")

    assert "a test's/own" in listed
    assert "a test's/own" not in rabbitmq_server.ctl("list_vhosts")


def test_a_private_server_shares_neither_node_nor_ports_with_the_machines(rabbitmq_server):
    status = rabbitmq_server.ctl("status")

    assert "task-test-rabbit-" in status
    assert ":5672" not in status


def test_a_failing_command_is_an_error_with_its_text(rabbitmq_server):
    with pytest.raises(RuntimeError, match="no_such_command"):
        rabbitmq_server.ctl("no_such_command")


def test_each_test_has_a_virtual_host_of_its_own(broker_url, rabbitmq_server):
    assert broker_url.rsplit("/", 1)[1] in rabbitmq_server.ctl("list_vhosts")


def test_a_named_server_gives_each_test_a_virtual_host_or_is_used_as_it_is(tmp_path, rabbitmq_server):
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["task_bus.testing"]')
    (tmp_path / "test_it.py").write_text("def test_it(broker_url): print('given', broker_url)")

    def given(**environment):
        command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-p", "no:asyncio"]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=True
        )
        return re.findall(r"given (.+)", done.stdout)

    named = {"TASK_TEST_BROKER_URL": rabbitmq_server.url()}
    as_it_is = given(**named)
    (of_its_own,) = given(**named, TASK_TEST_BROKER_MANAGEMENT_URL=rabbitmq_server.management_url)

    assert as_it_is == [rabbitmq_server.url()]
    assert re.fullmatch(r"amqp://.+/test-[0-9a-f-]{36}", of_its_own)
