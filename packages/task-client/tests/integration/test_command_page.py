"""The page of the command line knows every command, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from task_client_cli._app import app
from task_client_cli._filters import FILTER_OPTIONS

PAGE = (Path(__file__).parents[4] / "docs" / "command-line.md").read_text(encoding="utf-8")


def test_each_command_is_shown_and_each_that_is_shown_exists() -> None:
    shown = set(re.findall(r"^\$ task-client ([a-z][a-z-]*)", PAGE, re.MULTILINE))

    assert shown == set(get_command(app).commands)  # type: ignore[attr-defined] # it is a group


def test_each_filter_is_named() -> None:
    assert [one.name for one in FILTER_OPTIONS if f"`--{one.name.replace('_', '-')}`" not in PAGE] == []


def test_each_option_that_is_shown_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined] # it is a group
    for name, rest in re.findall(r"^\$ task-client ([a-z][a-z-]*)([^\n]*(?:\\\n[^\n]*)*)", PAGE, re.MULTILINE):
        one = commands[name]
        if hasattr(one, "commands"):
            one = one.commands[rest.split()[0]]
        known = {option for param in one.params for option in param.opts}

        assert set(re.findall(r" (--[a-z-]+)", rest)) <= known
