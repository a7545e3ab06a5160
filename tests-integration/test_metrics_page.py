"""docs/metrics.md lists every metric with its kind and its labels."""

from __future__ import annotations

import re

from harness.pages import Page, quoted
from task_runtime.metrics import names

KIND_BY_NAME = {
    **{f"{one.name}_total": ("counter", one.labels) for one in names.COUNTERS},
    **{one.name: ("histogram", one.labels) for one in names.HISTOGRAMS},
    **{one.name: ("gauge", one.labels) for one in names.GAUGES},
}


def test_every_metric_is_in_the_table_and_nothing_else_is() -> None:
    rows = Page.read("metrics.md").rows(first="metric")

    listed = {quoted(row["metric"]): (row["kind"], tuple(re.findall(r"`(\w+)`", row["labels"]))) for row in rows}

    assert listed == KIND_BY_NAME
    assert len(rows) == len(listed)


def test_the_buckets_are_those_that_the_page_names() -> None:
    assert "buckets from 5 ms to 1 hour" in Page.read("metrics.md").text
    assert (names.SECONDS_BUCKETS[0], names.SECONDS_BUCKETS[-1]) == (0.005, 3_600)


def test_no_label_holds_an_id_or_names_a_worker() -> None:
    labels = {label for one in (*names.COUNTERS, *names.HISTOGRAMS, *names.GAUGES) for label in one.labels}

    assert labels == {
        *("queue", "type", "priority", "event", "status"),
        *("state", "statement", "process", "version", "python"),
    }
