"""Lays a compiled statement out over lines, so that people can read it. Only white space changes.

What does not fit into a line gets a line for each clause; a clause that does not fit, a line for each element of its
list or condition; an element that does not fit is broken inside its parentheses or its CASE.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WIDTH = 110
_INDENT = 4
_TOKEN = re.compile(r"(\s*)('(?:[^']|'')*'|[(),]|\w+=(?=CASE )|[^\s(),']+)")
_KEYWORD = re.compile(
    r"(WITH(?! TIME| ORDINALITY)|SELECT DISTINCT|SELECT|FROM|JOIN|LEFT OUTER JOIN|WHERE|GROUP BY|ORDER BY|LIMIT|FOR"
    r"|UNION ALL|VALUES|INSERT INTO|UPDATE|SET|DELETE FROM|ON CONFLICT|RETURNING)( |$)"
)
"""What begins a clause."""
_NO_CLAUSE = {("FOR", "UPDATE"), ("DO", "UPDATE"), ("OUTER", "JOIN"), ("DELETE", "FROM")}
"""Pairs of words whose second one begins none."""
_WITH_ELEMENTS = {"SELECT", "SELECT DISTINCT", "WHERE", "GROUP BY", "ORDER BY", "VALUES", "SET", "RETURNING"}


@dataclass(frozen=True)
class _Node:
    """A word; or a pair of parentheses, or a CASE, with what it holds."""

    gap: str
    begin: str
    inner: tuple[_Node, ...] = ()
    end: str = ""

    def __str__(self) -> str:
        return self.begin + "".join(f"{node.gap}{node}" for node in self.inner) + self.end


_Nodes = Sequence[_Node]


def laid_out(sql: str) -> str:
    """Return a statement, laid out over as many lines as it takes."""
    return "\n".join(_lines(_parsed(sql), 0))


def _parsed(sql: str) -> _Nodes:
    levels: list[list[_Node]] = [[]]
    for space, word in _TOKEN.findall(sql):
        gap = " " if space else ""
        if word in {"(", "CASE"}:
            levels[-1].append(_Node(gap, word))
            levels.append([])
        elif word in {")", "END"}:
            inner, opened = tuple(levels.pop()), levels[-1].pop()
            levels[-1].append(_Node(opened.gap, opened.begin, inner, " END" if word == "END" else word))
        else:
            levels[-1].append(_Node(gap, word))
    return levels[0]


def _lines(nodes: _Nodes, indent: int) -> list[str]:
    if _fits(nodes, indent):
        return [_flat(nodes, indent)]
    clauses = _split(nodes, _begins_clause)
    if len(clauses) > 1:
        return [line for clause in clauses for line in _lines(clause, indent)]
    keyword = _keyword_at(nodes, 0)
    if keyword in _WITH_ELEMENTS:
        return [" " * indent + keyword, *_element_lines(nodes[len(keyword.split()) :], indent + _INDENT)]
    if len(_elements(nodes)) > 1:
        return _element_lines(nodes, indent)
    return _way_lines(nodes, indent) if nodes[0].begin == "WHEN" else _broken(nodes, indent)


def _element_lines(nodes: _Nodes, indent: int) -> list[str]:
    """Lay out a list or a condition: each element on lines of its own, but plain ones of a list as many as fit."""
    elements = _elements(nodes)
    lines: list[str] = []
    was_plain = False
    for element in elements:
        is_plain = elements[0][-1].begin == "," and not any(node.inner or "=" in node.begin for node in element)
        together = f"{lines[-1]} {_flat(element)}" if lines else ""
        if was_plain and is_plain and len(together) <= _WIDTH:
            lines[-1] = together
        else:
            lines += _lines(element, indent)
        was_plain = is_plain
    return lines


def _way_lines(nodes: _Nodes, indent: int) -> list[str]:
    """Lay out a WHEN: in two lines if that is enough."""
    when, then = _split(nodes, lambda nodes, place: nodes[place].begin == "THEN")
    if _fits(when, indent) and _fits(then, indent + _INDENT):
        return [_flat(when, indent), _flat(then, indent + _INDENT)]
    return _broken(nodes, indent)


def _broken(nodes: _Nodes, indent: int) -> list[str]:
    """Break what has no clauses and no elements: inside the first parentheses, or the CASE, that do not fit."""
    lines: list[str] = []
    line = " " * indent
    for place, node in enumerate(nodes):
        line += node.gap if place else ""
        if node.inner and len(f"{line}{node}") > _WIDTH:
            lines += [line + node.begin, *_lines(node.inner, indent + _INDENT)]
            line = " " * indent + node.end.strip()
        else:
            line += str(node)
    return [*lines, line]


def _flat(nodes: _Nodes, indent: int = 0) -> str:
    return " " * indent + "".join(f"{node.gap}{node}" for node in nodes).strip()


def _fits(nodes: _Nodes, indent: int) -> bool:
    return len(_flat(nodes, indent)) <= _WIDTH


def _elements(nodes: _Nodes) -> list[_Nodes]:
    """Cut a list at its commas, or else a condition, or a CASE, at its words."""
    if any(node.begin == "," for node in nodes):
        return _split(nodes, lambda nodes, place: nodes[place - 1].begin == ",")
    return _split(nodes, lambda nodes, place: nodes[place].begin in {"AND", "OR", "WHEN", "ELSE"})


def _split(nodes: _Nodes, begins: Callable[[_Nodes, int], bool]) -> list[_Nodes]:
    starts = [0, *(place for place in range(1, len(nodes)) if begins(nodes, place))]
    return [nodes[start:end] for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True)]


def _begins_clause(nodes: _Nodes, place: int) -> bool:
    return bool(_keyword_at(nodes, place)) and (nodes[place - 1].begin, nodes[place].begin) not in _NO_CLAUSE


def _keyword_at(nodes: _Nodes, place: int) -> str:
    found = _KEYWORD.match(" ".join(node.begin for node in nodes[place : place + 3]))
    return found[1] if found else ""
