"""Importance weighting over cells of the score: the reference's losses, weighed by where the window's scores lie.

If the chance of an outcome given the score has not changed (covariate shift), the window's expected loss is the sum
over cells of its share of rows there times the reference's mean loss there.

Reference: H. Shimodaira, "Improving predictive inference under covariate shift by weighting the log-likelihood
function", Journal of Statistical Planning and Inference 90, 2000 (here the density ratio of the binned score).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.intervals import z_value
from driftloop.performance.metrics import MetricValue
from driftloop.profiles.estimators import LossCells
from driftloop.spec.basics import Task

__all__ = [
    "MAX_CELLS",
    "around",
    "effective_rows",
    "fit_cells",
    "fitted_noise",
    "own_noise",
    "root",
    "weighted_metrics",
]

MAX_CELLS: Final = 32
#: Cells of the reference hold at least so many rows where its scores differ enough.
CELL_ROWS: Final = 50

_MEANS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("accuracy", "brier", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("mae", "mse"),
}
_AT_MOST_ONE: Final = frozenset({"accuracy", "brier", "precision", "recall", "f1", "base_rate"})


def fit_cells(
    scores: NDArray[np.float64],
    losses: dict[str, NDArray[np.float64]],
    groups: NDArray[np.int64] | None = None,
    group_count: int = 1,
) -> LossCells:
    """Cells of about equally many reference rows, and each loss's mean and variance there. All arrays (n,)."""
    of_group = np.zeros(scores.size, np.int64) if groups is None else groups
    most = max(1, MAX_CELLS // group_count) if group_count > 1 else MAX_CELLS
    edges = [_edges(scores[of_group == group], max(2, most)) for group in range(group_count)]
    empty = LossCells(edges=edges, rows=[], means={}, variances={})
    cells = empty.index(scores, groups)
    count = int(empty.starts[-1])
    rows = np.bincount(cells, minlength=count)
    means: dict[str, list[float]] = {}
    variances: dict[str, list[float]] = {}
    for name, loss in losses.items():
        mean = np.bincount(cells, weights=loss, minlength=count) / np.maximum(rows, 1)
        spread = np.bincount(cells, weights=np.square(loss - mean[cells]), minlength=count) / np.maximum(rows, 1)
        means[name], variances[name] = mean.tolist(), spread.tolist()
    return LossCells(edges=edges, rows=rows.tolist(), means=means, variances=variances)


def _edges(scores: NDArray[np.float64], most: int) -> list[float]:
    count = min(most, scores.size // CELL_ROWS)
    if count < 2:
        return []
    ordered = np.sort(scores)
    edges = np.unique(ordered[np.arange(1, count) * ordered.size // count])
    return [edge for edge in edges.tolist() if edge > ordered[0]]


def around(value: float, variance: float, confidence: float, most: float | None, rows: int) -> MetricValue:
    """A normal interval of a metric that is never negative, and never above ``most``."""
    if not math.isfinite(value):
        return MetricValue(None, None, None, rows)
    if not math.isfinite(variance):
        return MetricValue(value, None, None, rows)
    half = z_value(confidence) * math.sqrt(max(0.0, variance))
    high = value + half if most is None else min(most, value + half)
    return MetricValue(value, max(0.0, value - half), max(value, high), rows)


def own_noise(cells: LossCells, counts: Sequence[int], loss: str) -> float:
    """Variance of the window's mean loss that its own rows' outcomes bring, by the reference's variance in a cell."""
    total = sum(counts)
    spread = _smoothed(cells, loss)
    return math.fsum(count * v for count, v in zip(counts, spread, strict=True)) / total**2


def fitted_noise(cells: LossCells, counts: Sequence[int], loss: str) -> float:
    """Variance of the window's mean loss that comes with the reference's means, each known from its own rows alone."""
    total = sum(counts)
    spread = _smoothed(cells, loss)
    return math.fsum(
        (count / total) ** 2 * v / max(1, rows) for count, v, rows in zip(counts, spread, cells.rows, strict=True)
    )


def _smoothed(cells: LossCells, loss: str) -> list[float]:
    """Variances of a loss by cell, with one row more at the variance over all cells, so that a cell of the reference
    without spread is not taken for certain."""
    whole = sum(cells.rows)
    means, variances = cells.means[loss], cells.variances[loss]
    mean = math.fsum(n * m for n, m in zip(cells.rows, means, strict=True)) / whole
    overall = math.fsum(
        n * (v + (m - mean) ** 2) for n, v, m in zip(cells.rows, variances, means, strict=True)
    ) / whole  # fmt: skip
    return [(n * v + overall) / (n + 1) for n, v in zip(cells.rows, variances, strict=True)]


def effective_rows(cells: LossCells, counts: Sequence[int]) -> float:
    """To how many reference rows the weights come: (sum of weights)² / sum of squared weights, each row of a cell
    having the weight window share / reference share. 0 if the window lies where the reference has no rows.

    Reference: L. Kish, "Survey Sampling", 1965.
    """
    pairs = [(count, rows) for count, rows in zip(counts, cells.rows, strict=True) if rows]
    first = math.fsum(count for count, _ in pairs)
    second = math.fsum(count * count / rows for count, rows in pairs)
    return first * first / second if second else 0.0


def weighted_metrics(cells: LossCells, counts: Sequence[int], task: Task, confidence: float) -> dict[str, MetricValue]:
    """Metrics of a window whose scores fall into the cells ``counts`` times; undefined (None) without rows."""
    rows = sum(counts)
    if not rows:
        return {}
    found: dict[str, MetricValue] = {}
    for name in _MEANS[task]:
        value = math.fsum(n * m for n, m in zip(counts, cells.means[name], strict=True)) / rows
        noise = own_noise(cells, counts, name) + fitted_noise(cells, counts, name)
        found[name] = around(value, noise, confidence, 1.0 if name in _AT_MOST_ONE else None, rows)
    if task == "binary":
        found |= _ratios(cells, counts, rows, confidence)
    elif task == "regression":
        found["rmse"] = root(found["mse"])
    return found


def root(square: MetricValue) -> MetricValue:
    """The root of a mean square with the roots of its limits."""
    value, low, high = (None if x is None else math.sqrt(x) for x in (square.value, square.low, square.high))
    return MetricValue(value, low, high, square.rows)


def _ratios(cells: LossCells, counts: Sequence[int], rows: int, confidence: float) -> dict[str, MetricValue]:
    """Precision, recall and F1: ratios of weighted means, intervals by the delta method."""
    hits, false_alarms, misses = (cells.means[name] for name in ("true_positive", "false_positive", "false_negative"))
    expected = [
        math.fsum(n * m for n, m in zip(counts, column, strict=True)) for column in (hits, false_alarms, misses)
    ]
    found: dict[str, MetricValue] = {}
    for name, gain, alarm, miss in (("precision", 1, 1, 0), ("recall", 1, 0, 1), ("f1", 2, 1, 1)):
        whole = gain * expected[0] + alarm * expected[1] + miss * expected[2]
        if whole <= 0.0:
            found[name] = MetricValue(None, None, None, rows)
            continue
        value = gain * expected[0] / whole
        slopes = (gain * (1.0 - value), -alarm * value, -miss * value)
        noise = 0.0
        for count, reference_rows, *shares in zip(counts, cells.rows, hits, false_alarms, misses, strict=True):
            # One row more at the overall mix keeps a cell without spread from being taken for certain.
            mixed = [
                (reference_rows * share + e / rows) / (reference_rows + 1)
                for share, e in zip(shares, expected, strict=True)
            ]
            first = sum(slope * share for slope, share in zip(slopes, mixed, strict=True))
            second = sum(slope * slope * share for slope, share in zip(slopes, mixed, strict=True))
            noise += (count + count * count / max(1, reference_rows)) * max(0.0, second - first * first)
        found[name] = around(value, noise / whole**2, confidence, 1.0, rows)
    return found
