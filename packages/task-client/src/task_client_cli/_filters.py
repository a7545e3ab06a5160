"""The options that say which tasks, and the filters of the client that they become."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Optional

import typer

from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._ids import worker_of
from task_client_cli._session import Session
from task_client_cli._times import moment

_OPTIONS: dict[str, tuple[Any, str]] = {
    "status": (list[str], "NEW, PENDING, IN_PROGRESS, COMPLETED, FAILED or CANCELLED; several by comma."),
    "priority": (list[str], "HIGH, MEDIUM or LOW; several by comma."),
    "type": (str, "Of this type."),
    "queue": (str, "In this queue."),
    "name": (str, "With this in the name."),
    "label": (list[str], "KEY=VALUE; all that are given."),
    "created_from": (str, "Created since: a time, or a span such as 1h (ago)."),
    "created_to": (str, "Created before."),
    "finished_from": (str, "Ended since."),
    "finished_to": (str, "Ended before."),
    "fingerprint": (str, "FAILED in this way (see `errors`)."),
    "worker": (str, "What this worker runs: HOST:PID, or its id or the beginning of that (see `workers`)."),
}
_MOMENTS = frozenset({"created_from", "created_to", "finished_from", "finished_to"})


def _parameter(name: str, kind: Any, help_: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", help=help_, show_default=False, metavar="TEXT")
    annotation: Any = Annotated[Optional[kind], option]  # noqa: UP045 # made at run time
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


FILTER_OPTIONS = tuple(_parameter(name, kind, help_) for name, (kind, help_) in _OPTIONS.items())
"""For commands over many tasks."""


def filters_of(session: Session, given: dict[str, Any]) -> dict[str, Any]:
    """Return the filters among the options that were given. A worker that is not given by its whole id costs a request.

    Raises:
        CommandError: one is wrong.

    """
    from task_client import Priority, TaskStatus

    convert: dict[str, Callable[[Any], Any]] = {
        "status": lambda texts: _words(texts, TaskStatus, "status"),
        "priority": lambda texts: _words(texts, Priority, "priority"),
        "label": labels,
        "worker": lambda text: worker_of(session, text),
        **dict.fromkeys(_MOMENTS, lambda text: moment(text, is_ahead=False)),
    }
    chosen = {name: value for name, value in given.items() if name in _OPTIONS and value not in (None, [])}
    filters = {name: convert.get(name, str)(value) for name, value in chosen.items()}
    return {"labels" if name == "label" else name: value for name, value in filters.items()}


def filters_text(filters: dict[str, Any]) -> str:
    """Return filters as people read them."""
    return " ".join(f"{name}={_text(value)}" for name, value in filters.items()) or "all tasks"


def labels(texts: Iterable[str]) -> dict[str, str]:
    """Return labels of the form KEY=VALUE.

    Raises:
        CommandError: one has another form.

    """
    found = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise CommandError(ExitCode.USAGE, f"a label looks like KEY=VALUE, not {text!r}")
        found[key] = value
    return found


def word(text: str, kind: Any, what: str) -> Any:
    """Return the member of an enumeration that was typed, in upper or lower case.

    Raises:
        CommandError: there is none.

    """
    try:
        return kind(text.strip().upper())
    except ValueError:
        known = ", ".join(member.value for member in kind)
        raise CommandError(ExitCode.USAGE, f"{text!r} is no {what}; there are {known}") from None


def _words(texts: Iterable[str], kind: Any, what: str) -> list[Any]:
    return [word(part, kind, what) for text in texts for part in text.split(",")]


def _text(value: Any) -> str:
    match value:
        case dict():
            return ",".join(f"{key}={text}" for key, text in value.items())
        case list():
            return ",".join(str(getattr(one, "value", one)) for one in value)
        case _:
            return str(value)
