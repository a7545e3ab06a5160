from __future__ import annotations

import pytest

from task_api.access import failed_attempts
from task_api.access.failed_attempts import ATTEMPTS_MAX, FailedAttempts


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(failed_attempts, "time", clock)
    return clock


def fail(failed: FailedAttempts, address: str, times: int = ATTEMPTS_MAX) -> None:
    for _ in range(times):
        failed.add(address)


def test_an_address_waits_out_its_window_and_begins_anew(clock: Clock) -> None:
    failed = FailedAttempts()
    fail(failed, "192.0.2.1", ATTEMPTS_MAX - 1)
    before = failed.seconds_left("192.0.2.1")
    clock.now += 20
    failed.add("192.0.2.1")
    at_once = failed.seconds_left("192.0.2.1")
    clock.now += 39.5
    shortly_before = failed.seconds_left("192.0.2.1")
    clock.now += 0.5
    after = failed.seconds_left("192.0.2.1")
    failed.add("192.0.2.1")

    assert (before, at_once, shortly_before, after) == (0, 40, 1, 0)
    assert failed.seconds_left("192.0.2.1") == 0


def test_another_address_is_not_concerned() -> None:
    failed = FailedAttempts()
    fail(failed, "192.0.2.1")

    assert failed.seconds_left("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "192.0.2.2", False),
        ("unknown", "", True),
    ],
)
def test_a_network_of_ipv6_is_one_caller(one: str, other: str, is_same: bool) -> None:
    failed = FailedAttempts()
    fail(failed, one)

    assert bool(failed.seconds_left(other)) is is_same


def test_however_many_addresses_there_are_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_attempts, "_ADDRESSES_MAX", 100)
    failed = FailedAttempts()
    for n in range(5_000):
        failed.add(f"10.0.{n // 250}.{n % 250}")
    fail(failed, "192.0.2.1")

    assert len(failed._windows) == 100
    assert failed.seconds_left("192.0.2.1") > 0
