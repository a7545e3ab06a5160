from __future__ import annotations

from structlog.testing import capture_logs

from task_worker.wait_warnings import WaitWarnings


def test_a_type_is_told_again_after_ten_minutes_and_others_at_once() -> None:
    now = 0.0
    warnings = WaitWarnings(free_slots=lambda: 0, clock=lambda: now)
    with capture_logs() as logs:
        warnings.handler_waits("a", "default")
        now = 599.0
        warnings.handler_waits("a", "default")
        warnings.handler_waits("b", "default")
        now = 600.0
        warnings.handler_waits("a", "default")

    assert [line["type"] for line in logs] == ["a", "b", "a"]


def test_a_wait_with_free_slots_delays_no_warning() -> None:
    free = 1
    warnings = WaitWarnings(free_slots=lambda: free, clock=lambda: 0.0)
    with capture_logs() as logs:
        warnings.handler_waits("a", "default")
        free = 0
        warnings.handler_waits("a", "default")

    assert [(line["event"], line["log_level"]) for line in logs] == [("handler_waits_for_task", "warning")]
