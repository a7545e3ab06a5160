"""A copy of the repository, as a stranger's clone would be, and stacks of containers that are run from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from harness.compose import Compose, clone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, without anything that a run has left."""
    return clone(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def open_stack(checkout: Path) -> Callable[..., Iterator[Compose]]:
    """Give a stack of a compose file, with nothing of it up; at the end nothing of it is left."""

    def opened(*files: str, **settings: str) -> Iterator[Compose]:
        stack = Compose(checkout, f"tasktest{uuid4().hex[:8]}", *files, **settings)
        try:
            yield stack
        finally:
            stack("down", "-v", "--rmi", "local", "--remove-orphans", "--timeout", "20")

    return opened
