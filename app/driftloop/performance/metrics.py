"""A realised metric with its interval, and which way is better. The names are in :mod:`driftloop.spec.metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from driftloop.spec.metrics import TASK_METRICS

__all__ = ["METRIC_DIRECTION", "TASK_METRICS", "MetricValue"]

#: +1: higher is better, -1: lower is better, 0: neither (a change in either direction is the news).
METRIC_DIRECTION: Final[Mapping[str, int]] = MappingProxyType(
    {metric: direction for metrics in TASK_METRICS.values() for metric, direction in metrics.items()}
)


class MetricValue(Struct, frozen=True):
    """A metric with its confidence interval. ``None`` stands for undefined; ``rows`` are the labeled rows behind it.

    ``low`` and ``high`` are both None or both numbers. No number here is NaN or infinite. ``error_bound`` is the most
    by which a histogram in place of the values can have moved ``value``; None where no histogram is in play.
    """

    value: float | None
    low: float | None
    high: float | None
    rows: int
    error_bound: float | None = None
