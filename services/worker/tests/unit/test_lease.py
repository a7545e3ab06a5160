from __future__ import annotations

from uuid import uuid4

import pytest

from task_worker.lease.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(clock: Clock) -> Lease:
    return Lease(30, clock)


def test_before_it_is_registered_a_worker_may_start_nothing(lease: Lease) -> None:
    assert (lease.worker_id, lease.is_valid, lease.is_over) == (None, False, True)


def test_it_runs_from_before_the_statement_was_sent_with_a_sixth_to_spare(lease: Lease, clock: Clock) -> None:
    worker_id = uuid4()
    lease.begin(worker_id, sent_at=990.0)

    assert (lease.worker_id, lease.is_valid, lease.spare_seconds) == (worker_id, True, 5.0)
    clock.now = 1014.9
    assert lease.is_valid
    clock.now = 1015.0
    assert lease.is_over
    assert not lease.is_valid


def test_a_renewal_prolongs_it(lease: Lease, clock: Clock) -> None:
    lease.begin(uuid4(), sent_at=1000.0)
    clock.now = 1024.0
    lease.renewed(sent_at=1023.0)

    clock.now = 1047.9
    assert lease.is_valid
    clock.now = 1048.0
    assert not lease.is_valid


def test_a_renewal_that_was_sent_earlier_shortens_nothing(lease: Lease, clock: Clock) -> None:
    lease.begin(uuid4(), sent_at=1000.0)
    lease.renewed(sent_at=900.0)

    clock.now = 1024.9
    assert lease.is_valid


def test_a_lease_that_was_over_is_valid_again_once_renewed(lease: Lease, clock: Clock) -> None:
    lease.begin(uuid4(), sent_at=1000.0)
    clock.now = 1100.0
    assert lease.is_over

    lease.renewed(sent_at=1100.0)

    assert lease.is_valid


def test_a_worker_that_was_found_dead_has_no_id_and_may_begin_under_another(lease: Lease) -> None:
    first, second = uuid4(), uuid4()
    lease.begin(first, sent_at=1000.0)

    lease.end()

    assert (lease.worker_id, lease.is_valid, lease.is_over) == (None, False, True)
    lease.begin(second, sent_at=1000.0)
    assert (lease.worker_id, lease.is_valid) == (second, True)
