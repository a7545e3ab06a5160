"""The command `watch`: what runs, live on a terminal; elsewhere, a line for each change.

**Invariants**: one thread asks the service, one draws; what is drawn is the last answer, whole, and says so where it is
old. A frame is written over the one before it, line by line, and the screen is never erased in between: nothing
flickers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from task_client_cli._command import command
from task_client_cli._exits import CommandError, ExitCode
from task_client_cli._filters import FILTER_OPTIONS, filters_of, filters_text
from task_client_cli._ids import ids_of
from task_client_cli._session import Session
from task_client_cli._times import span_text
from task_client_cli._values import printable

if TYPE_CHECKING:
    from rich.text import Text

    from task_client import Stats, TaskClient, TaskSummary

FRAME_SECONDS = 0.25
_ANSWER_SECONDS = 5.0
_TASKS_MAX = 200
_SERVER_ERROR = 500
_STREAM_FILTERS = frozenset({"status", "labels", "type", "queue"})
"""What a stream of events can be filtered by."""


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    command(app, "watch", *FILTER_OPTIONS)(watch)


def watch(
    session: Session,
    task_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these, to their end.")] = None,
    interval: Annotated[float, typer.Option("--every", min=0.2, max=3_600, help="Seconds between two looks.")] = 1.0,
    **given: Any,
) -> int | None:
    """Watch tasks: those that run, those that meet the filters, or some ids up to their end.

    On a terminal it is live; elsewhere a line is printed for each change. A broken connection is shown and survived.
    """
    filters = filters_of(session, given)
    ids = ids_of(session, task_ids or [])
    if ids and filters:
        raise CommandError(ExitCode.USAGE, "give ids or filters, not both")
    is_live = session.out.is_terminal and session.out.is_text and os.environ.get("TERM") not in {"dumb", "unknown"}
    if is_live:
        return _watch_live(session, {"id": ids} if ids else filters, interval)
    if ids:
        _print_to_the_end(session, ids, interval)
    else:
        _print_changes(session, filters)
    return None


def _print_to_the_end(session: Session, ids: Sequence[UUID], interval: float) -> None:
    """Print each change of some tasks that a look finds, until all have ended. A broken connection is survived."""
    from task_client_cli import _columns as columns

    seen: dict[UUID, int] = {}
    while True:
        try:
            tasks = list(session.client.list(id=ids))
        except Exception as error:
            if not _may_pass(error):
                raise
            tasks = []
        else:
            _refuse_missing(ids, tasks)
        session.out.each([task for task in tasks if seen.get(task.id, 0) < task.version], columns.STATES)
        session.out.flush()
        seen |= {task.id: task.version for task in tasks}
        if tasks and all(task.status.is_terminal for task in tasks):
            return
        time.sleep(interval)


def _print_changes(session: Session, filters: dict[str, Any]) -> None:
    """Print a line for each change as the service tells it, for ever."""
    from task_client_cli import _columns as columns

    if unknown := sorted(set(filters) - _STREAM_FILTERS):
        said = f"without a terminal, watch cannot filter by {', '.join(unknown)}"
        raise CommandError(ExitCode.USAGE, said)
    for state in session.client.events(**filters):
        session.out.each([state], columns.STATES)
        session.out.flush()


def _refuse_missing(ids: Iterable[UUID], tasks: Iterable[TaskSummary]) -> None:
    if missing := set(ids) - {task.id for task in tasks}:
        raise CommandError(ExitCode.REFUSED, f"no task has the id {', '.join(map(str, sorted(missing)))}")


@dataclass(frozen=True)
class View:
    """What is known: the last answers, and what went wrong since."""

    tasks: tuple[TaskSummary, ...] = ()
    has_more: bool = False
    stats: Stats | None = None
    seen_at: float | None = None
    """When the last answer came (monotonic); None before the first."""
    seen_clock: str = ""
    trouble: str = ""
    is_over: bool = False


@dataclass
class Watcher:
    """Asks the service again and again, in a thread of its own, and keeps the latest view."""

    client: TaskClient
    filters: dict[str, Any]
    interval: float
    view: View = field(default_factory=View)
    fault: Exception | None = None
    """What ended it: an error that does not pass."""
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until it is over or stopped. An error that may pass is part of the view, any other ends it."""
        while not self._stopped.is_set() and not self.view.is_over:
            try:
                self.view = self._look()
            except Exception as error:  # noqa: BLE001 # raised again by who waits for this thread
                if not _may_pass(error):
                    self.fault = error
                    return
                self.view = replace(self.view, trouble=_reason(error))
            self._stopped.wait(self.interval)

    def stop(self) -> None:
        """Let `run` return after the look that it is at."""
        self._stopped.set()

    def _look(self) -> View:
        from task_client import NotFoundError, TaskStatus

        filters = self.filters or {"status": TaskStatus.IN_PROGRESS}
        page = self.client.page(limit=_TASKS_MAX, **filters)
        try:
            stats = self.client.stats()
        except NotFoundError:  # an older service
            stats = None
        _refuse_missing(self.filters.get("id", ()), page.items)
        return View(
            tasks=tuple(page.items),
            has_more=page.next_cursor is not None,
            stats=stats,
            seen_at=time.monotonic(),
            seen_clock=datetime.now().astimezone().strftime("%H:%M:%S"),
            is_over="id" in self.filters and all(task.status.is_terminal for task in page.items),
        )


def _watch_live(session: Session, filters: dict[str, Any], interval: float) -> int:
    from rich.console import Console, Group
    from rich.live import Live

    from task_client import RepeatPolicy

    client = session.new_client(repeats=RepeatPolicy(tries=1), timeout_seconds=_ANSWER_SECONDS)
    watcher = Watcher(client, filters, interval)
    thread = threading.Thread(target=watcher.run, daemon=True, name="watch")
    console = Console()
    heading = f"{session.server}  {filters_text(filters) if filters else 'running tasks'}"
    thread.start()
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            shown: list[Text] = []
            while thread.is_alive():
                lines = frame(watcher.view, heading, console.width, console.height)
                if lines != shown:
                    live.update(Group(*lines), refresh=True)
                    shown = lines
                thread.join(FRAME_SECONDS)
    finally:
        watcher.stop()
    if watcher.fault is not None:
        raise watcher.fault
    _print_last(session, watcher.view)
    return ExitCode.DONE


def _print_last(session: Session, view: View) -> None:
    from task_client_cli import _columns as columns

    session.out.many(view.tasks, columns.TASKS)


def frame(view: View, heading: str, width: int, height: int, clock: Callable[[], float] = time.monotonic) -> list[Text]:
    """Return the lines of a screen, at most `height` of at most `width`."""
    from rich.text import Text

    from task_client_cli import _columns as columns
    from task_client_cli._tables import lay_out

    top = [Text(printable(heading), style="bold"), _connection(view, clock())]
    if view.stats is not None:
        top.append(Text(_stats_line(view.stats, width)))
    top.append(Text(""))
    room = max(0, height - len(top) - 2)  # the heading of the table, and what says that there are more
    table = lay_out(view.tasks[:room], columns.TASKS, width) if view.tasks else []
    hidden = len(view.tasks) - room
    more = f"… {hidden}{'+' if view.has_more else ''} more" if hidden > 0 else "… more" if view.has_more else ""
    if not view.tasks and view.seen_at is not None:
        more = "no task is like that now"
    lines = [*top, *table, Text(more)][:height]
    for line in lines:
        line.truncate(width)
        line.no_wrap = True
    return lines


def _connection(view: View, now: float) -> Text:
    from rich.text import Text

    if view.trouble:
        seen = "never answered" if view.seen_at is None else f"last answer {span_text(int(now - view.seen_at))} ago"
        return Text(f"NOT REACHED, {seen}, trying again: {printable(view.trouble)}", style="bold red")
    if view.seen_at is None:
        return Text("connecting")
    return Text(f"connected, as of {view.seen_clock}", style="green")


def _stats_line(stats: Stats, width: int) -> str:
    """Return the figures, as many as fit."""
    parts = [f"waiting {stats.waiting}{'+' if stats.waiting_is_capped else ''}", f"running {stats.running}"]
    if stats.rates:
        rate = stats.rates[0]
        parts += [f"last {span_text(rate.seconds)}: {rate.completed} done, {rate.failed} failed"]
    parts += [f"workers {stats.live_workers}", f"slots {stats.slots}"]
    line = parts[0]
    for part in parts[1:]:
        longer = f"{line} · {part}"
        line = longer if len(longer) <= width else line
    return line


def _may_pass(error: Exception) -> bool:
    from task_client import ProblemError, TaskClientError

    if isinstance(error, ProblemError):
        return error.status >= _SERVER_ERROR
    return isinstance(error, TaskClientError) and error.is_transient


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error).splitlines()[0]
