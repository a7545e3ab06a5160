"""The public names of the package, and that importing it needs pydantic alone."""

from __future__ import annotations

import subprocess
import sys
from inspect import ismodule

import task_contracts


def test_all_is_sorted_and_complete() -> None:
    public = {name for name, value in vars(task_contracts).items() if not name.startswith("_") and not ismodule(value)}

    assert task_contracts.__all__ == sorted(task_contracts.__all__, key=_isort_key)
    assert set(task_contracts.__all__) == public | {"limits"}


def _isort_key(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff's RUF022 keeps."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_importing_it_needs_pydantic_alone() -> None:
    code = "import sys, task_contracts.testing, task_contracts.lifecycle; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    modules = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert "pydantic" in modules
    assert not modules & {"orjson", "httpx2", "sqlalchemy", "aio_pika", "fastapi"}
