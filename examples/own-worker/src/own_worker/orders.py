"""Reads orders from a CSV file, and stores them in a database."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, Field

COLUMNS = ("number", "customer", "quantity", "price")
BUSY_SECONDS = 1.0
"""How long to wait while another connection writes."""

Row = dict[str, str]


class Order(BaseModel):
    """One line of an order file."""

    number: str = Field(min_length=1)
    customer: str = Field(min_length=1)
    quantity: int = Field(gt=0)
    price: Decimal = Field(ge=0, decimal_places=2)


def read_rows(text: str) -> list[Row]:
    """Return the rows of a CSV file, by column.

    Raises:
        ValueError: the text is not CSV, or columns are missing; the message names them.

    """
    reader = csv.DictReader(io.StringIO(text), restval="")
    try:
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"the file has no column {', '.join(missing)}")
        return [{name: row[name] for name in COLUMNS} for row in reader]
    except csv.Error as error:
        raise ValueError(f"the file is no CSV: {error}") from error


def store(orders: Iterable[Order]) -> None:
    """Store all of the orders or none. One that is stored already is replaced, so a repeat changes nothing.

    The database is the file OWN_WORKER_DATABASE, in place of a database of yours.

    Raises:
        sqlite3.OperationalError: another connection writes, or the file cannot be opened.

    """
    path = os.environ.get("OWN_WORKER_DATABASE") or Path(tempfile.gettempdir()) / "own-worker.db"
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS orders (number PRIMARY KEY, customer, quantity, price)")
        for order in orders:
            values = (order.number, order.customer, order.quantity, str(order.price))
            database.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", values)
