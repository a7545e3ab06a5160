from __future__ import annotations

import re

import pytest

from task_contracts import FailureKind, limits

KIND = FailureKind("report.build", "reports.NoFileError", "reports.build in render")


def test_fingerprint_is_the_same_everywhere_and_always() -> None:
    assert KIND.fingerprint == "c5362c879bdaaa71"
    assert FailureKind("report.build", "worker_lost").fingerprint != KIND.fingerprint


@pytest.mark.parametrize("part", ["type", "exception", "frame"])
def test_each_part_makes_another_kind(part: str) -> None:
    fields = {"type": KIND.type, "exception": KIND.exception, "frame": KIND.frame, part: "another"}

    assert FailureKind(**fields).fingerprint != KIND.fingerprint


@pytest.mark.parametrize("text", ["\x00", "\ud800", "\x1b[2J", "x" * 1_000_000, ""])
def test_any_text_becomes_storable(text: str) -> None:
    kind = FailureKind(text, text, text)

    assert re.fullmatch("[0-9a-f]{16}", kind.fingerprint)
    kind.frame.encode()
    assert "\x00" not in kind.frame
    assert len(kind.frame) <= limits.FAILURE_PART_CHARS
