"""The block that a process prints at its start: what it is, what it uses, and warnings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from task_contracts import printable_text
from task_runtime.logs import LogFormat, get_logger
from task_runtime.redaction import safe_text

_log = get_logger(__name__)


def start_block(
    title: str, rows: Sequence[tuple[str, str]], warnings: Iterable[str] = (), *, log_format: LogFormat
) -> None:
    """Print `rows` of (label, value) under `title`, then the warnings, each a sentence that says what to do.

    With the format `console` it is a block on stderr. With `json` it is one line `process_started` with a field for
    each label (`schema revision` becomes `schema_revision`), and one line `startup_warning` for each warning. Passwords
    in URLs are masked in both.
    """
    if log_format == "console":
        sys.stderr.write(_block(title, rows, warnings))
        return
    fields = {label.lower().replace(" ", "_"): value for label, value in rows}
    _log.info("process_started", title=title, **fields)
    for warning in warnings:
        _log.warning("startup_warning", reason=warning)


def _block(title: str, rows: Sequence[tuple[str, str]], warnings: Iterable[str]) -> str:
    width = max((len(label) for label, _ in rows), default=0)
    lines = [title, *(f"  {label:<{width}}  {value}" for label, value in rows)]
    lines += [f"  warning: {warning}" for warning in warnings]
    return "".join(f"{printable_text(safe_text(line))}\n" for line in lines)
