"""Three handlers: one runs on the worker's event loop, one in a thread, one in a process of its own."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Iterator

from pydantic import BaseModel, Field, ValidationError

from own_worker import demand, orders
from task_worker import Context, Fail, Retry, TaskCreate, handler


class OrderFile(BaseModel):
    """A CSV file with the columns number, customer, quantity and price."""

    csv: str
    rows_per_part: int = Field(500, gt=0, le=2_000)


class OrderRows(BaseModel):
    """Rows of an order file."""

    rows: list[orders.Row]


class Imported(BaseModel):
    """How many orders were stored, and why others were not."""

    stored: int
    rejected: list[str]


class DemandQuestion(BaseModel):
    """The demand of each day so far, and for how many days to forecast."""

    daily: list[int] = Field(min_length=1)
    days: int = Field(30, gt=0, le=365)
    runs: int = Field(20_000, ge=100, le=10_000_000)
    seed: int | None = None


class Forecast(BaseModel):
    """The mean demand, and a stock that is enough in 19 of 20 cases."""

    mean: float
    enough: float


@handler("orders.split", timeout_seconds=60)
async def split_orders(payload: OrderFile, context: Context) -> list[str]:
    """Split a file into parts, create a task for each, and return their ids. On the event loop: it mostly waits.

    Another attempt creates none of them twice: `context.client` gives each create the same key as before.
    """
    try:
        rows = orders.read_rows(payload.csv)
    except ValueError as error:
        raise Fail(str(error), code="unusable_file") from error
    ids: list[str] = []
    for start in range(0, len(rows), payload.rows_per_part):
        part = rows[start : start + payload.rows_per_part]
        name = f"orders {start + 1} to {start + len(part)}"
        payload_of_part = OrderRows(rows=part).model_dump()
        task = await context.client.create(
            TaskCreate(name=name, type="orders.import", labels=context.labels, payload=payload_of_part)
        )
        ids.append(str(task.id))
        context.progress(100 * (start + len(part)) / len(rows), name)
    return ids


@handler("orders.import", timeout_seconds=60, max_attempts=5)
def import_orders(payload: OrderRows, context: Context) -> Imported:
    """Store the valid rows, and return what is wrong with the others. In a thread: the database blocks it."""
    rejected: list[str] = []

    def good() -> Iterator[orders.Order]:
        for number, row in enumerate(payload.rows, 1):
            context.raise_if_stopped()  # a thread cannot be interrupted: it has to check
            try:
                yield orders.Order.model_validate(row)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                rejected.append(f"row {number}: {first['loc'][0]}: {first['msg']}")
            context.progress(100 * number / len(payload.rows))

    try:
        orders.store(good())
    except sqlite3.OperationalError as error:
        raise Retry(str(error), code="database_busy", after_seconds=5) from error
    return Imported(stored=len(payload.rows) - len(rejected), rejected=rejected)


@handler("demand.forecast", timeout_seconds=300, in_process=True)
def forecast_demand(payload: DemandQuestion, context: Context) -> Forecast:
    """Forecast by simulation. In a process of its own: it computes all the time, and a process can be killed."""
    found: list[int] = []
    for total in demand.totals(payload.daily, payload.days, payload.runs, payload.seed):
        found.append(total)
        if len(found) % (payload.runs // 10) == 0:
            context.progress(100 * len(found) / payload.runs)
    return Forecast(mean=statistics.fmean(found), enough=statistics.quantiles(found, n=20)[-1])
