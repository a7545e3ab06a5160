"""The block that a process prints at its start: what it is, what it uses, and warnings."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence

from task_contracts import printable_text
from task_runtime.console import columns_of
from task_runtime.logs import LogFormat, get_logger
from task_runtime.own_host import host_name
from task_runtime.redaction import safe_text

_log = get_logger(__name__)


def start_block(
    title: str, rows: Sequence[tuple[str, str]], warnings: Iterable[str] = (), *, log_format: LogFormat
) -> None:
    """Print `rows` of (label, value) under `title`, then the warnings, each a sentence that says what to do.

    With the format `console` it is a block on stderr. With `json` it is one line `process_started` with a field for
    each label (`schema revision` becomes `schema_revision`) and this process's `host` and `pid`, and one line
    `startup_warning` for each warning. Passwords in URLs are masked in both.
    """
    if log_format == "console":
        sys.stderr.write(_block(title, rows, warnings))
        return
    fields = {label.lower().replace(" ", "_"): value for label, value in rows}
    _log.info("process_started", title=title, host=host_name(), pid=os.getpid(), **fields)
    for warning in warnings:
        _log.warning("startup_warning", reason=warning)


def _block(title: str, rows: Sequence[tuple[str, str]], warnings: Iterable[str]) -> str:
    width = max((len(label) for label, _ in rows), default=0)
    entries = [("", title), *((f"  {label:<{width}}  ", value) for label, value in rows)]
    entries += [("  warning: ", warning) for warning in warnings]
    columns = columns_of(sys.stderr)
    return "".join(f"{line}\n" for entry in entries for line in _wrapped(*entry, columns))


def _wrapped(head: str, text: str, columns: int | None) -> list[str]:
    """Return `text` after `head`, in lines of at most so many columns, each below the other.

    What has a word that fits none, such as a URL, is left to the terminal: there it can be copied.
    """
    shown, room = printable_text(safe_text(text)), math.inf if columns is None else columns - len(head)
    if len(shown) <= room or max(map(len, shown.split(" "))) > room:
        return [printable_text(head) + shown]
    first, *others = textwrap.wrap(shown, int(room), break_on_hyphens=False)
    return [printable_text(head) + first, *(" " * len(head) + line for line in others)]
