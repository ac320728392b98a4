"""Time series with a bound: label sets are counted, and what goes over the budget is dropped and counted.

A metric whose labels come from data (features, versions, categories) can grow without end and take Prometheus down
with it. Every family here draws its label sets from one :class:`SeriesBudget`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["BatchHistogram", "BoundedCounter", "BoundedGauge", "Labels", "SeriesBudget"]

Labels = tuple[str, ...]


class SeriesBudget:
    """How many label sets all bounded families of a process may have together.

    ``driftloop_series_dropped_total{metric}`` counts the updates that found no room; it is never bounded itself,
    because its label is a metric's name.
    """

    def __init__(self, registry: CollectorRegistry, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"the series limit must be at least 1, got {limit}")
        self.limit = limit
        self.used = 0
        self.lock = threading.RLock()
        self._dropped = Counter(
            "driftloop_series_dropped_total",
            "Updates of label sets that were dropped because the series budget of the process is used up.",
            ["metric"],
            registry=registry,
        )

    def take(self, metric: str) -> bool:
        """Room for one more label set? Counts it, or counts the drop."""
        with self.lock:
            dropped = self._dropped.labels(metric)  # there from the first label set on, so that increases are seen
            if self.used >= self.limit:
                dropped.inc()
                return False
            self.used += 1
            return True

    def drop(self, metric: str, label_sets: int) -> None:
        """Count label sets that were left out before they asked for room."""
        if label_sets > 0:
            self._dropped.labels(metric).inc(label_sets)

    def give_back(self, label_sets: int) -> None:
        with self.lock:
            self.used -= label_sets


class BoundedCounter:
    """A counter family whose label sets come out of a budget."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry, budget: SeriesBudget
    ) -> None:
        self.name = name
        self._family = Counter(name, help_text, labels, registry=registry)
        self._budget = budget
        self._children: dict[Labels, Counter] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Add ``amount`` (at least 0); 0 creates the series, so that a rate over it exists from the start."""
        child = self._children.get(labels)
        if child is None:
            with self._budget.lock:
                child = self._children.get(labels)
                if child is None:
                    if not self._budget.take(self.name):
                        return
                    child = self._children[labels] = self._family.labels(*labels)
        if amount:
            child.inc(amount)


class BoundedGauge:
    """A gauge family whose label sets come out of a budget and belong to groups that are replaced as a whole.

    A group is what one report says (say of one model version): with :meth:`replace` a feature that the newest report
    does not mention loses its series instead of showing an old value for ever.
    """

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], registry: CollectorRegistry, budget: SeriesBudget
    ) -> None:
        self.name = name
        self._family = Gauge(name, help_text, labels, registry=registry)
        self._budget = budget
        self._groups: dict[Labels, set[Labels]] = {}

    def set(self, labels: Labels, value: float, *, group: Labels | None = None) -> None:
        """Set one series; ``group`` defaults to the labels themselves."""
        group = labels if group is None else group
        with self._budget.lock:
            members = self._groups.get(group)
            if members is None or labels not in members:
                if not self._budget.take(self.name):
                    return
                self._groups.setdefault(group, set()).add(labels)
            self._family.labels(*labels).set(value)

    def replace(self, group: Labels, values: Mapping[Labels, float]) -> None:
        """Make ``values`` all that the group has."""
        with self._budget.lock:
            for labels in self._groups.get(group, set()) - values.keys():
                self._remove(group, labels)
            for labels, value in values.items():
                self.set(labels, value, group=group)

    def forget(self, prefix: Labels) -> None:
        """Remove every group whose name starts with ``prefix``."""
        with self._budget.lock:
            for group in [group for group in self._groups if group[: len(prefix)] == prefix]:
                for labels in list(self._groups[group]):
                    self._remove(group, labels)

    def _remove(self, group: Labels, labels: Labels) -> None:
        members = self._groups[group]
        members.discard(labels)
        if not members:
            del self._groups[group]
        self._family.remove(*labels)
        self._budget.give_back(1)


class BatchHistogram(Collector):
    """A Prometheus histogram that takes whole arrays: one ``searchsorted`` and one ``bincount`` a batch.

    ``prometheus_client.Histogram`` has one ``observe`` a value, which on the hot path would cost more than decoding the
    event. ``bounds`` are upper bounds (inclusive, as Prometheus has it) in ascending order, without infinity. Values
    that are not finite are left out.
    """

    def __init__(
        self,
        name: str,
        help_text: str,
        labels: Sequence[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
        budget: SeriesBudget,
    ) -> None:
        if list(bounds) != sorted(set(bounds)) or not np.isfinite(bounds).all():
            raise ValueError(f"{name}: bounds must be finite, ascending and distinct, got {list(bounds)}")
        self.name = name
        self._help = help_text
        self._label_names = tuple(labels)
        self._bounds = np.asarray(bounds, dtype=np.float64)
        self._budget = budget
        self._lock = threading.Lock()
        self._counts: dict[Labels, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self._sums: dict[Labels, float] = {}
        registry.register(self)

    def observe(self, labels: Labels, values: ArrayLike) -> None:
        """Add values (any shape; floats or integers, in the histogram's unit). An empty array creates the series."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        buckets = np.searchsorted(self._bounds, flat, side="left")
        counted = np.bincount(buckets, minlength=len(self._bounds) + 1).astype(np.int64)
        with self._lock:
            if labels not in self._counts:
                if not self._budget.take(self.name):
                    return
                self._counts[labels] = np.zeros(len(self._bounds) + 1, dtype=np.int64)
                self._sums[labels] = 0.0
            self._counts[labels] += counted
            self._sums[labels] += float(flat.sum())

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self.name, self._help, labels=self._label_names)
        uppers = [*(repr(float(bound)) for bound in self._bounds), "+Inf"]
        with self._lock:
            for labels in sorted(self._counts):
                cumulative = np.cumsum(self._counts[labels])
                buckets = [(upper, float(count)) for upper, count in zip(uppers, cumulative, strict=True)]
                family.add_metric(labels, buckets=buckets, sum_value=self._sums[labels])
        yield family

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self.name, self._help, labels=self._label_names)
