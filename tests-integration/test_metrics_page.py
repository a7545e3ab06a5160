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
