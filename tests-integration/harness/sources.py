"""What the project's sources log, read from their syntax.

A module's logger is called `_log`, and the first text of a call is the name of the event. It is found where the method
is chosen first (`(_log.info if … else _log.debug)("…")`, `level = _log.error if …`), where the level is a value
(`_log.log(level, "…")`), and where the name is handed in by a keyword (`missed="sweep_missed"`).
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVEL_BY_METHOD = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "CRITICAL",
}

_LOGGER = re.compile(r"^\s*(\S+) = \S*get_?logger\(__name__\)$", re.IGNORECASE | re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def logged_events() -> dict[str, set[str]]:
    """Return the levels at which each event is logged, by the event's name.

    Raises:
        AssertionError: a logger has another name, or it cannot be told what a call logs.

    """
    text_by_path = {path: path.read_text() for path in _paths()}
    modules = {path: ast.parse(text) for path, text in text_by_path.items()}
    levels_by_event: dict[str, set[str]] = defaultdict(set)
    for path, module in modules.items():
        _require_usual_name(path, text_by_path[path])
        for function in (node for node in ast.walk(module) if isinstance(node, Function)):
            for call in _own_calls(function):
                for event, levels in _logged_by(call, function, list(modules.values())):
                    assert event is not None, f"{path}:{call.lineno}: it cannot be told what is logged here"
                    assert levels, f"{path}:{call.lineno}: it cannot be told at which level {event} is logged"
                    levels_by_event[event] |= levels
    return dict(levels_by_event)


def _paths() -> Iterator[Path]:
    """Yield the sources whose log lines are events. The client's are sentences: it logs in the programs of others."""
    for pattern in ("packages/*/src", "services/*/src", "migrations/src"):
        for folder in ROOT.glob(pattern):
            if "task-client" not in folder.parts:
                yield from folder.rglob("*.py")


def _require_usual_name(path: Path, text: str) -> None:
    others = {name for name in _LOGGER.findall(text) if name != "_log"}
    assert not others, f"{path}: a logger is called {others}, not _log"


def _own_calls(function: Function) -> Iterator[ast.Call]:
    """Yield the calls in a function, those in functions within it left to them."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        waiting += [child for child in ast.iter_child_nodes(node) if not isinstance(child, Function)]


def _logged_by(call: ast.Call, function: Function, modules: list[ast.Module]) -> Iterator[tuple[str | None, set[str]]]:
    methods = _attributes(call.func, function, of="_log")
    if not methods:
        return
    levels = {LEVEL_BY_METHOD[method] for method in methods - {"log"}}
    given = list(call.args)
    if "log" in methods:
        levels |= _attributes(given.pop(0), function, of="logging")
    match given:
        case [ast.Constant(value=str(event)), *_]:
            yield event, levels
        case [ast.Name(id=name), *_]:
            yield from ((event, levels) for event in _handed_in(name, modules))
        case _:
            yield None, levels


def _attributes(expression: ast.expr, function: Function, *, of: str) -> set[str]:
    """Return the attributes of the name `of` that an expression, or the variable that it names, may stand for."""
    if isinstance(expression, ast.Name):
        assigned = [node.value for node in ast.walk(function) if _assigns(node, expression.id)]
        return {one for value in assigned for one in _attributes(value, function, of=of)}
    if isinstance(expression, ast.IfExp):
        return _attributes(expression.body, function, of=of) | _attributes(expression.orelse, function, of=of)
    is_one = isinstance(expression, ast.Attribute) and ast.unparse(expression.value) == of
    return {expression.attr} if is_one else set()


def _assigns(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]


def _handed_in(keyword: str, modules: list[ast.Module]) -> list[str | None]:
    given = [
        argument.value.value
        for module in modules
        for argument in ast.walk(module)
        if isinstance(argument, ast.keyword) and argument.arg == keyword and isinstance(argument.value, ast.Constant)
    ]
    return given or [None]
