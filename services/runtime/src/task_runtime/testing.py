"""pytest fixtures for tests of a process: no setting of the machine, and logging as it was before.

    from task_runtime.testing import plain_environment, untouched_logging  # noqa: F401 # fixtures

in a conftest.py. Needs the extra `testing`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import task_runtime.settings
from task_runtime import own_loggers


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the settings of the machine: `TASK_*` variables but `TASK_TEST_*`, and the secrets folder."""
    for name in os.environ:
        if name.startswith("TASK_") and not name.startswith("TASK_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(task_runtime.settings, "SECRETS_FOLDER", tmp_path / "no-secrets")


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Put logging back as it was, after a test that calls `configure_logging`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configured = structlog.get_config() if structlog.is_configured() else {}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    if configured:
        structlog.configure(**configured)
    own_loggers.write_as_usual()
