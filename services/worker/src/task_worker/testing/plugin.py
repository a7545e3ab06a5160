"""A pytest plugin with the fixture `run_handler`.

    pytest_plugins = ["task_worker.testing.plugin"]    # in a conftest.py

It must be named there. If pytest found it by an entry point, it would load the worker in every project that has one
installed.

PYTEST_DONT_REWRITE: there is no assert here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from task_worker.testing.run_outcome import RunOutcome
from task_worker.testing.runs import run


@pytest.fixture
def run_handler() -> Callable[..., RunOutcome]:
    """Run one attempt of a handler as a worker would: `task_worker.testing.run`."""
    return run
