"""What is counted for every task: plain numbers, made into metrics when a scrape asks.

prometheus_client's own counters take a lock for each count, and a task has ten of them: a twentieth of all that a
worker does for a quick one. These are counted on the event loop alone; a scrape in another thread reads each number as
it is.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from task_runtime.metrics.names import MetricName

Series = TypeVar("Series")


class Count:
    """How often something has happened."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self, count: int = 1) -> None:
        """Count it so often more."""
        self.value += count


class Spread:
    """How values are spread over buckets, each of which holds what is at most its bound. The bounds ascend."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many values each bucket holds; the last one those above all bounds."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class _OfLabels(Collector, Generic[Series]):
    """The series of one metric, by the values of its labels."""

    def __init__(self, named: MetricName, registry: CollectorRegistry, make: Callable[[], Series]) -> None:
        self._named = named
        self._make = make
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """Return the series of these labels, in the order of the metric's; it is shown from now on."""
        return self._series.setdefault(values, self._make())

    def _shown(self) -> list[tuple[tuple[str, ...], Series]]:
        return list(self._series.items())  # at once: the event loop may add one meanwhile


class Counts(_OfLabels[Count]):
    """A counter with labels."""

    def __init__(self, named: MetricName, registry: CollectorRegistry) -> None:
        super().__init__(named, registry, Count)

    def collect(self) -> Iterator[Metric]:
        """Yield the counter."""
        family = CounterMetricFamily(self._named.name, self._named.help, labels=self._named.labels)
        for labels, count in self._shown():
            family.add_metric(labels, count.value)
        yield family


class Spreads(_OfLabels[Spread]):
    """A histogram with labels."""

    def __init__(self, named: MetricName, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self._bounds = [floatToGoString(bound) for bound in (*bounds, math.inf)]  # type: ignore[no-untyped-call]
        super().__init__(named, registry, lambda: Spread(bounds))

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram."""
        family = HistogramMetricFamily(self._named.name, self._named.help, labels=self._named.labels)
        for labels, spread in self._shown():
            buckets = list(zip(self._bounds, accumulate(spread.counts), strict=True))
            family.add_metric(labels, buckets, spread.sum)
        yield family
