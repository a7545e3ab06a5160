"""docs/client.md: all its blocks run in their order, against a fake service behind a real HTTP server."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from task_client.testing import FakeService

GUIDE = (Path(__file__).parents[4] / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def test_what_the_guide_shows_runs(fake: FakeService, service: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for type_ in ("report.build", "page.fetch"):
        fake.on(type_)(lambda payload: payload)
    fake.on("page.size")(lambda payload: payload["n"] * 10)
    fake.on("page.broken")(lambda payload: payload["url"])
    said: dict[str, Any] = {}
    is_over = threading.Event()

    def fail_while_somebody_listens() -> None:
        with fake.client() as client:
            while not is_over.wait(0.02):
                if service.requests[-1:] == ["GET /api/v1/events?status=FAILED"]:
                    client.create(name="bad", type="page.broken")

    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(fail_while_somebody_listens)
        for block in BLOCKS:
            exec(block.replace("http://localhost:9000", service.url), said)
        is_over.set()
        failing.result()
    made = said["new_key_for_billing"](said["client"])
    said["maintenance"](said["client"])
    said["client"].close()

    lines = capsys.readouterr().out.splitlines()
    assert said["sizes"] == [n * 10 for n in range(20)]
    assert "['tasks.1100.name'] 1000" in lines
    assert "failed: " in "".join(lines)
    assert "100" in lines
    assert lines[-3] == "['the provider is down']"
    assert lines[-1].split()[-2] == "tasks.pause"
    assert made.startswith("ts_")
