from __future__ import annotations

import pytest

from task_service import exit_policy as module
from task_service.exit_policy import ExitPolicy
from task_worker.exits import HUNG, LEASE_LOST


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int | str]:
    ended: list[int | str] = []
    monkeypatch.setattr(module, "end_process", ended.append)
    return ended


def test_a_thread_that_does_not_stop_is_waited_for_while_the_service_goes_on(codes: list[int | str]) -> None:
    ExitPolicy().end_process(LEASE_LOST)

    assert codes == []


def test_a_thread_that_does_not_stop_ends_a_process_that_is_leaving(codes: list[int | str]) -> None:
    policy = ExitPolicy()
    policy.is_leaving = True

    policy.end_process(LEASE_LOST)

    assert codes == [LEASE_LOST]


def test_an_event_loop_that_hangs_ends_the_process_always(codes: list[int | str]) -> None:
    ExitPolicy().end_process(HUNG)

    assert codes == [HUNG]


@pytest.mark.parametrize("code", [HUNG, LEASE_LOST, 1])
def test_the_database_is_stopped_before_the_process_ends(codes: list[int | str], code: int) -> None:
    policy = ExitPolicy(lambda: codes.append("database"))
    policy.is_leaving = True

    policy.end_process(code)

    assert codes == ["database", code]


def test_a_thread_that_is_waited_for_keeps_its_database(codes: list[int | str]) -> None:
    ExitPolicy(lambda: codes.append("database")).end_process(LEASE_LOST)

    assert codes == []
