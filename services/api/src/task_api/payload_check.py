"""Refuses a task at once whose payload no live worker can take: a field is missing, or one is forbidden.

It costs a look-up in memory for each task, and no statement: what is on offer is read now and then, and again before
anything is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from task_api.fields import ERRORS_MAX, field_name
from task_api.offers import STALE_SECONDS, Offers
from task_api.payload_shapes import PayloadShape
from task_api.problems import invalid
from task_contracts import FieldProblem
from task_store import NewTask, RequestKey, Tasks

_FRESH_SECONDS = 1.0
"""What a refusal is based on was read no longer ago."""
_WAIT_SECONDS = 0.25
"""How long a task waits for a read by the way: the database answers in milliseconds, or stores no task either."""


class PayloadCheck:
    """Checks the payloads of new tasks.

    Args:
        offers: know what is on offer.
        tasks: knows the keys of earlier requests.
        refusal_seconds: how long a request whose payload looks wrong waits for what is on offer now.

    """

    def __init__(self, offers: Offers, tasks: Tasks, refusal_seconds: float) -> None:
        self._offers = offers
        self._tasks = tasks
        self._refusal_seconds = refusal_seconds

    async def check(self, news: Sequence[NewTask], place: str, key: RequestKey | None) -> None:
        """Return if each payload may fit: if some live version of its type takes its fields, or none lives.

        A repeat of a request is no new task: with a known key everything passes.

        Args:
            news: the tasks.
            place: where the n-th of them stands in the body, such as `body.tasks.{}`.
            key: of the request, if it has one.

        Raises:
            ProblemError: every live version of its type refuses a payload.
            StoreError: the key could not be looked for.

        """
        if self._offers.is_older_than(STALE_SECONDS):
            await self._offers.refresh(STALE_SECONDS, _WAIT_SECONDS)
        if not self._unfit(news):
            return
        if key is not None and await self._tasks.is_key_known(key):
            return
        if not await self._offers.refresh(_FRESH_SECONDS, self._refusal_seconds):
            return  # the database does not answer: nobody knows who lives
        if unfit := self._unfit(news):
            raise _refusal([(place.format(n), news[n]) for n in unfit], self._offers)

    def _unfit(self, news: Sequence[NewTask]) -> list[int]:
        """Return the places of the tasks whose payloads fit no version of their types."""
        shapes_of = self._offers.shapes
        return [
            n
            for n, new in enumerate(news)
            if (shapes := shapes_of(new.asked.queue, new.type))
            and not any(shape.fits(new.asked.payload) for shape in shapes)
        ]


def _refusal(unfit: Sequence[tuple[str, NewTask]], offers: Offers) -> Exception:
    problems: list[FieldProblem] = []
    count = 0
    for place, new in unfit:
        shape = _nearest(offers.shapes(new.asked.queue, new.type), new)
        missing, forbidden = shape.missing(new.asked.payload), shape.forbidden(new.asked.payload)
        count += len(missing) + len(forbidden)
        room = ERRORS_MAX - len(problems)
        problems += [_problem(place, name, f"Field required by the type {new.type}") for name in missing[:room]]
        room = ERRORS_MAX - len(problems)
        problems += [_problem(place, name, f"The type {new.type} takes no such field") for name in forbidden[:room]]
    return invalid(problems, count)


def _nearest(shapes: Sequence[PayloadShape], new: NewTask) -> PayloadShape:
    """Return the version of which a payload has the fewest fields wrong."""
    payload = new.asked.payload
    return min(shapes, key=lambda shape: len(shape.missing(payload)) + len(shape.forbidden(payload)))


def _problem(place: str, name: str, message: str) -> FieldProblem:
    return FieldProblem(field=field_name((*place.split("."), "payload", name)), message=message)
