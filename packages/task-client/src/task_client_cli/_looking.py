"""Commands that look and change nothing: a task, lists, counts, failures, workers and types."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from task_client_cli._command import command
from task_client_cli._filters import FILTER_OPTIONS, filters_of
from task_client_cli._ids import id_of
from task_client_cli._session import Session
from task_client_cli._times import seconds_of
from task_client_cli._values import Span, value_text

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An id, or its first 8 characters or more.")]

_PAGE_ITEMS_MAX = 200
_LIMIT_MAX = 1_000_000_000


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    command(app, "get")(get)
    command(app, "list", *FILTER_OPTIONS)(list_)
    for look in (explain, attempts, stats, queues, demand, errors, workers, types, audit):
        command(app, look.__name__)(look)


def get(session: Session, task_id: IdArgument) -> None:
    """Show a task with all its fields, payload and result included."""
    from task_client_cli._columns import task_fields

    task = session.client.get(id_of(session, task_id))
    if session.out.is_text:
        session.out.fields(task_fields(task))
    else:
        session.out.one(task)


def list_(
    session: Session,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_LIMIT_MAX, help="Tasks to show at most.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="Show all of them, however many.")] = False,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="Created with this Idempotency-Key.")] = None,
    **given: Any,
) -> None:
    """List tasks, the newest first."""
    from task_client import SortOrder
    from task_client_cli import _columns as columns

    filters = filters_of(session, given)
    if key is not None:
        filters["idempotency_key"] = key
    if oldest:
        filters["order"] = SortOrder.OLDEST
    found = session.client.list(**filters, limit=_PAGE_ITEMS_MAX if every else min(limit, _PAGE_ITEMS_MAX))
    shown = found if every else islice(found, limit)
    session.out.many(shown, columns.TASKS, "no task is like that")


def explain(session: Session, task_id: IdArgument) -> None:
    """Say why a task is where it is."""
    found = session.client.explain(id_of(session, task_id))
    if not session.out.is_text:
        session.out.one(found)
        return
    session.out.line(found.sentence)
    facts: dict[str, object] = {
        **dict(found),
        "reason": found.reason.value,
        "due_in_seconds": Span.of(found.due_in_seconds),
    }
    if found.ahead_is_capped:
        facts["ahead"] = f"{found.ahead}+"
    hidden = {"sentence", "ahead_is_capped"}
    session.out.fields((name, value) for name, value in facts.items() if name not in hidden and value not in ([], None))


def attempts(session: Session, task_id: IdArgument) -> None:
    """Show every attempt of a task, with its worker, its error and its traceback."""
    out = session.out
    found = session.client.attempts(id_of(session, task_id))
    if not out.is_text:
        out.many(found, ())
        return
    for one in found:
        ended = "runs" if one.ended_at is None else f"{one.outcome or 'ended'} {value_text(one.ended_at)}"
        place = f"{one.host or 'host unknown'} pid {one.pid or 'unknown'}"
        began = f"began {value_text(one.started_at)} on {place}"
        out.line(f"attempt {one.attempt}: {ended}, {began}, worker {one.worker_id}")
        if one.error is not None:
            kind = f"{one.error.type}: " if one.error.type else ""
            out.line(f"  {one.error.code}: {kind}{one.error.message}")
        for line in (one.traceback or "").splitlines():
            out.line(f"  | {line}")
    if not found:
        out.say("no attempt yet")


def stats(session: Session) -> None:
    """Show what waits and runs, and what happened in the last minutes."""
    from task_client_cli import _columns as columns

    found = session.client.stats()
    if not session.out.is_text:
        session.out.one(found)
        return
    session.out.fields(
        (
            ("waiting", f"{found.waiting}+" if found.waiting_is_capped else found.waiting),
            ("running", found.running),
            ("oldest waits", Span.of(found.oldest_wait_seconds)),
            ("workers", found.live_workers),
            ("slots", found.slots),
            ("counted", found.at if found.at is not None else "never: no leader has counted yet"),
            ("rates", "of whole minutes, up to 70 s late"),
        )
    )
    session.out.many(found.rates, columns.RATES)


def queues(session: Session) -> None:
    """Show what waits and runs in each queue."""
    from task_client_cli import _columns as columns

    session.out.many(session.client.queues(), columns.QUEUES, "no queue")


def demand(
    session: Session,
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")],
    target_wait: Annotated[
        str | None, typer.Option("--target-wait", help="How long a task may wait: seconds, or a span such as 5m.")
    ] = None,
) -> None:
    """Show how many workers a queue wants, for an autoscaler."""
    seconds = None if target_wait is None else seconds_of(target_wait)
    found = session.client.demand(queue, target_wait_seconds=seconds)
    if session.out.is_text:
        facts = {**dict(found), "oldest_wait_seconds": Span.of(found.oldest_wait_seconds)}
        session.out.fields(facts.items())
    else:
        session.out.one(found)


def errors(session: Session) -> None:
    """Show the failed attempts of the last day in groups; a task may count more than once.

    Rerun the tasks of a group: `rerun --fingerprint`.
    """
    from task_client_cli import _columns as columns

    session.out.many(session.client.errors(), columns.ERRORS, "nothing has failed in the last day")


def workers(session: Session) -> None:
    """Show the live workers."""
    from task_client_cli import _columns as columns

    session.out.many(session.client.workers(), columns.WORKERS, "no live worker")


def types(session: Session) -> None:
    """Show the types that workers offer."""
    from task_client_cli import _columns as columns

    session.out.many(session.client.types(), columns.TYPES, "no worker has offered a type")


def audit(
    session: Session,
    action: Annotated[
        str | None, typer.Option("--action", help="Only this, such as tasks.cancel or keys.create.")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only by the keys of this owner.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=_LIMIT_MAX, help="Entries to show at most.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="Show all of them, however many.")] = False,
) -> None:
    """Show what operators did, the newest first."""
    from task_client_cli import _columns as columns

    page_items = _PAGE_ITEMS_MAX if every else min(limit, _PAGE_ITEMS_MAX)
    found = session.client.list_audit(action=action, actor=actor, limit=page_items)
    session.out.many(found if every else islice(found, limit), columns.AUDIT, "no operator has done that")
