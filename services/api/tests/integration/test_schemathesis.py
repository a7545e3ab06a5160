"""schemathesis reads /openapi.json, and looks for an answer that the document does not allow."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from task_api.app import create_app
from task_api.parts import ApiParts
from task_api.server import listen, serve
from task_api.streams import event_stream
from task_contracts import limits

HERE = Path(__file__).parent
OPERATIONS = 31
BY_DESIGN = "use_after_free"
"""DELETE cancels a task, and a cancelled task can still be read."""
SECONDS = 600


@pytest.fixture
async def url(parts: ApiParts, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The URL of the application on a real socket. Its streams end soon, and nobody waits for long."""
    monkeypatch.setattr(limits, "WAIT_SECONDS_MAX", 0.05)
    monkeypatch.setattr(event_stream, "STREAM_SECONDS", 0.05)
    listener = listen("127.0.0.1", 0)
    serving = asyncio.create_task(serve(create_app(parts), listener, parts.stop, asyncio.Event()))
    yield listener.url
    parts.stop.set()
    async with asyncio.timeout(20):
        await serving


async def test_all_checks_of_schemathesis_over_every_operation_find_nothing(url: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(HERE / "schemathesis.toml")),
        *(
            "run",
            f"{url}/openapi.json",
            "--checks=all",
            f"--exclude-checks={BY_DESIGN}",
            "--max-examples=20",
            "--no-color",
        ),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        report = (await process.communicate())[0].decode()

    assert process.returncode == 0, report
    assert f"{OPERATIONS} selected / {OPERATIONS} total" in report
    cases = re.search(r"(\d+) generated", report)
    assert cases is not None
    assert int(cases[1]) > 500
