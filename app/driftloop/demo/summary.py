"""Closed loop against frozen model, month by month, by scikit-learn's metrics and not by driftloop's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, roc_auc_score

from driftloop.spec.basics import Task

__all__ = ["DemoResult", "ModelResult", "MonthResult", "Swap", "compare_months"]


class Swap(Struct, frozen=True, kw_only=True):
    """The production service began to use a version at ``clock_ms``."""

    model_id: str
    version: str
    clock_ms: int


class MonthResult(Struct, frozen=True, kw_only=True):
    """One month (UTC, by scheduled departure; ``month`` "all" is the whole run). ``better``: closed beats frozen."""

    month: str
    rows: int
    closed: float
    frozen: float
    better: bool


class ModelResult(Struct, frozen=True, kw_only=True):
    """One model's months. ``metric``: ``roc_auc`` (higher is better) or ``mae`` (minutes; lower is better)."""

    model_id: str
    metric: str
    months: list[MonthResult]
    total: MonthResult
    versions: list[Swap]

    @property
    def won(self) -> int:
        return sum(month.better for month in self.months)


class DemoResult(Struct, frozen=True, kw_only=True):
    """What the production service hands in when it ends. ``complete`` false: it was stopped before the end."""

    complete: bool
    predictions: int
    labels: int
    from_ms: int
    clock_ms: int
    models: list[ModelResult]


def compare_months(
    task: Task,
    times_ms: NDArray[np.int64],
    labels: NDArray[np.float64],
    closed: NDArray[np.float64],
    frozen: NDArray[np.float64],
) -> tuple[str, list[MonthResult], MonthResult | None]:
    """The metric's name, the months, and the whole (None without a row that counts).

    All arrays are (n,). Rows with NaN in a label or prediction do not count, nor months without a defined metric.
    """
    counts = ~(np.isnan(labels) | np.isnan(closed) | np.isnan(frozen))
    names = np.array([datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m") for time in _days(times_ms)])
    metric = "roc_auc" if task == "binary" else "mae"
    months = []
    for name in sorted(set(names[counts].tolist())):
        found = _compare(metric, name, labels, closed, frozen, counts & (names == name))
        if found is not None:
            months.append(found)
    return metric, months, _compare(metric, "all", labels, closed, frozen, counts)


def _days(times_ms: NDArray[np.int64]) -> Sequence[int]:
    days, places = np.unique(times_ms // 86_400_000, return_inverse=True)
    listed: list[int] = (days[places] * 86_400_000).tolist()
    return listed


def _compare(
    metric: str,
    name: str,
    labels: NDArray[np.float64],
    closed: NDArray[np.float64],
    frozen: NDArray[np.float64],
    chosen: NDArray[np.bool_],
) -> MonthResult | None:
    truth = labels[chosen]
    if len(truth) == 0 or (metric == "roc_auc" and len(np.unique(truth)) < 2):
        return None
    score = roc_auc_score if metric == "roc_auc" else mean_absolute_error
    ours, theirs = float(score(truth, closed[chosen])), float(score(truth, frozen[chosen]))
    better = ours > theirs if metric == "roc_auc" else ours < theirs
    return MonthResult(month=name, rows=len(truth), closed=ours, frozen=theirs, better=better)
