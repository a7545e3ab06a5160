"""A broker that refuses us says why: in its own words, once, as an error."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from task_bus._rabbit.bus import RabbitBus
from task_bus._rabbit.signals import RabbitSignals
from task_bus._rabbit.timings import BrokerTimings
from task_contracts import BackOff, Signal, SignalKind

pytestmark = pytest.mark.private_servers

HURRIED = BrokerTimings(back_off=BackOff(first_seconds=0.01, longest_seconds=0.05))
TRY_SECONDS = 1.5
"""For some twenty tries."""
ALL, NONE = ".*", "^$"


@pytest.fixture(autouse=True)
def log(caplog):
    with caplog.at_level(logging.INFO, "task_bus"):
        yield caplog


@pytest.fixture
def allow(faults):
    """Give the user of the tests' virtual host these rights in it, as patterns of names."""

    async def set_permissions(configure: str = ALL, write: str = ALL, read: str = ALL) -> None:
        await faults.ctl("set_permissions", "--vhost", faults.vhost, "guest", configure, write, read)

    return set_permissions


async def test_a_virtual_host_that_does_not_exist(private_world, faults, log):
    await _fails_to_connect(_bus(f"{private_world.url}-not"))

    assert _errors(log, "broker_unreachable") == _both(f"NOT_ALLOWED - vhost {faults.vhost}-not not found")


async def test_a_virtual_host_that_the_user_may_not_use(private_world, faults, log):
    await faults.ctl("clear_permissions", "--vhost", faults.vhost, "guest")

    await _fails_to_connect(_bus(private_world.url))

    refused = f"NOT_ALLOWED - access to vhost '{faults.vhost}' refused for user 'guest'"
    assert _errors(log, "broker_unreachable") == _both(refused)


@pytest.mark.parametrize("right", ["configure", "write", "read"])
async def test_a_right_that_the_user_lacks(private_world, allow, log, right):
    await allow(**{right: NONE})

    await _fails_to_connect(_bus(private_world.url))

    refused = _errors(log, "broker_unreachable")
    assert refused.keys() == _both("").keys()
    assert all(reason.startswith("ACCESS_REFUSED - access to ") for reason in refused.values())


async def test_a_limit_of_connections(private_world, faults, log):
    await faults.ctl("set_vhost_limits", "--vhost", faults.vhost, '{"max-connections": 0}')

    await _fails_to_connect(_bus(private_world.url))

    limit = f"NOT_ALLOWED - access to vhost '{faults.vhost}' refused for user 'guest': connection limit (0) is reached"
    assert _errors(log, "broker_unreachable") == _both(limit)


async def test_a_listener_whose_queue_has_another_name_at_each_try(private_world, allow, inbox, log):
    await allow(write=NONE)
    signals = RabbitSignals(private_world.url, name="s", timings=HURRIED)
    await signals.listen([SignalKind.CHANGED], inbox)

    await _fails_to_connect(signals)

    refused = _errors(log, "broker_unreachable")["s listening"]
    assert refused.startswith("ACCESS_REFUSED - access to queue 'amq.gen-…' ")


async def test_what_is_refused_only_once_it_is_used(private_world, allow, eventually, log):
    await allow(write=NONE)
    async with RabbitSignals(private_world.url, name="s", timings=HURRIED) as signals:

        async def has_tried_often() -> bool:
            signals.send(Signal(kind=SignalKind.DUE))
            return sum(record.message == "broker_connected" for record in log.records) > 3

        await eventually(has_tried_often)

    refused = _errors(log, "broker_connection_lost")
    assert refused.keys() == {"s sending signals"}
    assert refused["s sending signals"].startswith("ACCESS_REFUSED - access to exchange 'signals' ")


def _bus(url: str) -> RabbitBus:
    return RabbitBus(url, queues=["default"], name="b", timings=HURRIED)


def _both(reason: str) -> dict[str, str]:
    return {f"b {end}": reason for end in ("publishing", "consuming")}


async def _fails_to_connect(parts: RabbitBus | RabbitSignals) -> None:
    async with parts:
        with pytest.raises(TimeoutError):
            await parts.wait_connected(TRY_SECONDS)


def _errors(log, event: str) -> dict[str, str]:
    """Return the broker's words by connection, after checking that each stands there once and as an error."""
    lines = [record for record in log.records if record.message == event]
    assert max(Counter(line.connection for line in lines).values(), default=0) <= 1
    assert {line.levelno for line in lines} <= {logging.ERROR}
    return {line.connection: line.reason.partition(": ")[2] for line in lines}
