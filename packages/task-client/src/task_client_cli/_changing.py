"""Commands that change tasks: cancel, rerun and edit; one by one, or all that meet filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from task_client_cli._command import command
from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._filters import FILTER_OPTIONS, filters_of, filters_text, word
from task_client_cli._ids import id_of
from task_client_cli._looking import IdArgument
from task_client_cli._questions import ask
from task_client_cli._session import Session
from task_client_cli._times import moment

if TYPE_CHECKING:
    from task_client import Task

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or their beginnings.")]
EveryOption = Annotated[bool, typer.Option("--all", help="All tasks there are, where no filter is given.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print how many it would change.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_COUNTED_MAX = 10_000
"""What a dry run counts at most."""


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    command(app, "cancel", *FILTER_OPTIONS)(cancel)
    command(app, "rerun", *FILTER_OPTIONS)(rerun)
    command(app, "edit")(edit)


def cancel(
    session: Session,
    task_ids: IdsArgument = None,
    every: EveryOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    **given: Any,
) -> int | None:
    """Cancel tasks by id, or all that meet the filters. A running task is asked to stop."""
    return _change(session, "cancel", task_ids or [], filters_of(session, given), every, dry_run, yes)


def rerun(
    session: Session,
    task_ids: IdsArgument = None,
    every: EveryOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    **given: Any,
) -> int | None:
    """Run FAILED or CANCELLED tasks again, by id or all that meet the filters."""
    return _change(session, "rerun", task_ids or [], filters_of(session, given), every, dry_run, yes)


def edit(
    session: Session,
    task_id: IdArgument,
    priority: Annotated[str | None, typer.Option("--priority", help="HIGH, MEDIUM or LOW.")] = None,
    run_at: Annotated[str | None, typer.Option("--run-at", help="A time, a span such as 10m (ahead), or now.")] = None,
    if_version: Annotated[int | None, typer.Option("--if-version", help="Only if it is at this version.")] = None,
) -> None:
    """Change the priority or the time of a task that waits."""
    from task_client import Priority

    if priority is None and run_at is None:
        raise CommandError(ExitCode.USAGE, "give --priority, --run-at, or both")
    task = session.client.update(
        id_of(session, task_id),
        priority=None if priority is None else word(priority, Priority, "priority"),
        run_at=None if run_at is None else "now" if run_at == "now" else moment(run_at, is_ahead=True),
        if_version=if_version,
    )
    show_task(session, task)


def show_task(session: Session, task: Task) -> None:
    """Print a task that was made or changed: in text, its id, and to people its status."""
    if not session.out.is_text:
        session.out.one(task)
        return
    session.out.line(str(task.id))
    asked = " and asked to stop" if task.cancel_requested_at and not task.status.is_terminal else ""
    session.out.say(f"{task.name} is {task.status}{asked}")


def _change(
    session: Session, verb: str, texts: list[str], filters: dict[str, Any], every: bool, dry_run: bool, yes: bool
) -> int | None:
    if texts:
        if filters or every:
            raise CommandError(ExitCode.USAGE, "give ids or filters, not both")
        return _change_each(session, verb, texts, dry_run)
    if bool(filters) is every:
        said = "--all goes without filters" if every else f"give ids, filters, or --all to {verb} all tasks"
        raise CommandError(ExitCode.USAGE, said)
    _change_all(session, verb, filters, dry_run, yes)
    return None


def _change_each(session: Session, verb: str, texts: list[str], dry_run: bool) -> int:
    """Change tasks one by one; one that is refused does not keep the others from it."""
    from task_client import ProblemError, UnavailableError

    worst = ExitCode.DONE
    for text in texts:
        try:
            task_id = id_of(session, text)
            if dry_run:
                session.out.line(str(task_id))
            else:
                show_task(session, _change_one(session, verb, task_id))
        except UnavailableError:
            raise
        except (ProblemError, CommandError) as error:
            session.out.say(f"error: {text}: {error}")
            worst = max(worst, error.code if isinstance(error, CommandError) else ExitCode.REFUSED)
    return worst


def _change_one(session: Session, verb: str, task_id: UUID) -> Task:
    return session.client.cancel(task_id) if verb == "cancel" else session.client.rerun(task_id)


def _change_all(session: Session, verb: str, filters: dict[str, Any], dry_run: bool, yes: bool) -> None:
    change = session.client.cancel_many if verb == "cancel" else session.client.rerun_many
    every = not filters
    count = change(every=every, dry_run=True, **filters)
    if dry_run or not count:
        session.out.line(str(count))
        session.out.say(f"{_many(count)} would change: {filters_text(filters)} on {session.server}")
        return
    question = f"{verb} {_many(count)} ({filters_text(filters)}) on {session.server}?"
    if not yes:
        ask(question, "add --yes to do it, or --dry-run to only count")
    changed = change(every=every, on_progress=lambda done: session.out.say(f"{done} of {_many(count)}"), **filters)
    session.out.line(str(changed))


def _many(count: int) -> str:
    least = "at least " if count >= _COUNTED_MAX else ""
    return f"{least}{count} {'task' if count == 1 else 'tasks'}"
