"""docs/access.md names the scopes of every call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from task_api.app import create_app
from task_api.parts import ApiParts
from task_contracts import Scope

PAGE = Path(__file__).parents[4] / "docs" / "access.md"


def rows() -> Iterator[list[str]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_names_the_scopes_of_each_call_and_no_other_call(parts: ApiParts) -> None:
    documented = {
        f"{method.upper()} {path.removeprefix('/api/v1')}": {
            one["key"][0] for one in operation.get("security", ()) if one
        }
        for path, operations in create_app(parts).openapi()["paths"].items()
        for method, operation in operations.items()
        if not path.startswith("/health")
    }
    shown = {
        call: set(re.findall(r"`([a-z:]+)`", cells[1]))
        for cells in rows()
        for call in re.findall(r"`([A-Z]+ /[^`]*)`", cells[0])
    }

    assert shown == documented


def test_the_page_says_what_each_scope_is_for() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| scope \|.*?\n\n", text, re.DOTALL | re.MULTILINE)

    assert re.findall(r"^\| `([a-z:]+)`", table, re.MULTILINE) == list(Scope)
