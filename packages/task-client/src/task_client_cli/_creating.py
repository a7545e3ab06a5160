"""Commands that create tasks: one from options, many from a file; and the wait for one."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from task_client_cli._changing import show_task
from task_client_cli._command import command
from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._files import FileFormat, TaskFile, checked
from task_client_cli._filters import labels, word
from task_client_cli._ids import id_of
from task_client_cli._looking import IdArgument
from task_client_cli._output import Output
from task_client_cli._session import Session
from task_client_cli._streams import ReaderGoneError
from task_client_cli._times import moment, seconds_of

if TYPE_CHECKING:
    from task_client import Task, TaskSummary

WAIT_SECONDS = 3_600.0
_KEY_DIGITS = 40

TypeOption = Annotated[str | None, typer.Option("--type", help="The handler; the service's default if left out.")]
QueueOption = Annotated[str | None, typer.Option("--queue", help="The queue.")]
PriorityOption = Annotated[str | None, typer.Option("--priority", help="HIGH, MEDIUM or LOW.")]
LabelOption = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label; repeat it.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long to wait: seconds, or a span such as 10m.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    command(app, "create")(create)
    command(app, "create-many")(create_many)
    command(app, "wait")(wait)


def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="A name for people to read.")],
    type_: TypeOption = None,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON", help="A JSON object; @FILE reads a file, - stdin.")
    ] = None,
    queue: QueueOption = None,
    priority: PriorityOption = None,
    label: LabelOption = None,
    description: Annotated[str | None, typer.Option("--description", help="Anything that people should know.")] = None,
    run_at: Annotated[str | None, typer.Option("--run-at", help="Not before: a time, or a span (10m: ahead).")] = None,
    run_timeout: Annotated[
        str | None, typer.Option("--run-timeout", help="Longest run of an attempt: 90, 10m.")
    ] = None,
    max_attempts: Annotated[int | None, typer.Option("--max-attempts", help="So many failures FAIL it.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency-Key: a repeat creates nothing more.")] = None,
    is_waited: Annotated[bool, typer.Option("--wait", help="Wait for its end, as `wait` does.")] = False,
    timeout: TimeoutOption = "1h",
) -> int | None:
    """Create a task and print its id."""
    fields: dict[str, Any] = {
        "name": name,
        "type": type_,
        "queue": queue,
        "description": description,
        "max_attempts": max_attempts,
        **_defaults(priority, label),
        "payload": None if payload is None else _payload(payload),
        "run_at": None if run_at is None else moment(run_at, is_ahead=True),
        "timeout_seconds": None if run_timeout is None else seconds_of(run_timeout),
    }
    seconds = seconds_of(timeout)
    given = {field: value for field, value in fields.items() if value is not None}
    task = session.client.create(given, key=key)
    if not is_waited:
        show_task(session, task)
        return None
    session.out.say(f"created {task.id}")
    return _await(session, task.id, seconds)


def create_many(
    session: Session,
    place: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON Lines or CSV; - reads stdin.")],
    format_: Annotated[
        FileFormat | None, typer.Option("--format", help="By the file's name if left out; JSON Lines from stdin.")
    ] = None,
    type_: TypeOption = None,
    queue: QueueOption = None,
    priority: PriorityOption = None,
    label: LabelOption = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Instead of the file's hash: another key creates it all once more.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file, without the service.")] = False,
) -> None:
    """Create the tasks of a file: checked whole first, and a repeat creates nothing twice.

    The options are for tasks that do not say it themselves. Ids are printed where stdout is no terminal.
    """
    defaults = {"type": type_, "queue": queue, **_defaults(priority, label)}
    given = {field: value for field, value in defaults.items() if value is not None}
    with checked(place, format_, given) as file:
        if dry_run:
            session.out.line(str(file.count))
            session.out.say(f"{place}: {file.count} tasks, all well formed; nothing was created")
            return
        _create_all(session, place, file, key or f"file-{file.digest[:_KEY_DIGITS]}")


def wait(session: Session, task_id: IdArgument, timeout: TimeoutOption = "1h") -> int:
    """Wait until a task has ended and print its result.

    Exit code 1 if it is FAILED or CANCELLED, 5 if it takes longer.
    """
    return _await(session, id_of(session, task_id), seconds_of(timeout))


def _await(session: Session, task_id: Any, seconds: float) -> int:
    from task_client import TaskStatus

    task = session.client.wait(task_id, seconds)
    if not session.out.is_text:
        session.out.one(task)
    elif task.status is TaskStatus.COMPLETED:
        session.out.line(json.dumps(task.result, ensure_ascii=False))
    session.out.say(_ended(task))
    return ExitCode.DONE if task.status is TaskStatus.COMPLETED else ExitCode.TASK_FAILED


def _ended(task: Task) -> str:
    if task.error is None:
        return f"{task.name} is {task.status}"
    kind = f"{task.error.type}: " if task.error.type else ""
    return f"{task.name} is {task.status}: {kind}{task.error.message}"


def _create_all(session: Session, place: str, file: TaskFile, key: str) -> None:
    """Create all tasks of a file; what the bar shows is what the service has confirmed."""
    created = 0

    def counted(summaries: Iterator[TaskSummary]) -> Iterator[TaskSummary]:
        nonlocal created
        for summary in summaries:
            created += 1
            yield summary

    client = session.new_client()  # as patient as a program's: the service may restart meanwhile
    summaries = counted(_with_bar(session, client.iter_create_many(file.tasks(), key=key), file.count))
    try:
        try:
            _print_created(session.out, summaries)
        except ReaderGoneError:  # that nobody reads the ids is no reason to create half of the tasks
            deque(summaries, maxlen=0)
    except BaseException:
        session.out.say(f"{created} of {file.count} tasks were created; the same command goes on with the others")
        raise
    session.out.say(f"{created} tasks of {place} are created; the same command again creates none of them twice")


def _print_created(out: Output, summaries: Iterator[TaskSummary]) -> None:
    """Print what is created: JSON where it is asked for, else ids, and nothing on a terminal."""
    if not out.is_text:
        out.many(summaries, ())
        return
    for summary in summaries:
        if not out.is_terminal:
            out.line(str(summary.id))
    out.flush()


def _with_bar(session: Session, summaries: Iterator[TaskSummary], total: int) -> Iterator[TaskSummary]:
    if not sys.stderr.isatty():
        yield from summaries
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("creating"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=session.out.err) as progress:
        bar = progress.add_task("creating", total=total)
        for summary in summaries:
            progress.advance(bar)
            yield summary


def _defaults(priority: str | None, texts: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if priority is not None:
        from task_client import Priority

        found["priority"] = word(priority, Priority, "priority")
    if texts:
        found["labels"] = labels(texts)
    return found


def _payload(text: str) -> Any:
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{text[1:]} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(ExitCode.USAGE, f"the payload is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(ExitCode.USAGE, 'the payload is no JSON object, such as {"text": "hello"}')
    return found
