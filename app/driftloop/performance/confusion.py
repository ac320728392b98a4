"""What a confusion matrix says: agreement beyond chance, and precision, recall and F1 over the classes.

Every value comes with the variance of the delta method: the cells are a multinomial sample, so the variance of a smooth
function of their shares p is (sum p g^2 - (sum p g)^2) / n, where g is its slope by the share of each cell.

Reference: K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama, "Confidence interval for micro-averaged F1 and
macro-averaged F1 scores", Applied Intelligence 52, 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.intervals import Estimate, bounded_interval, mean_interval, wilson_interval
from driftloop.performance.metrics import MetricValue

__all__ = ["CONFUSION_METRICS", "Confusion", "proportion"]

_Floats = NDArray[np.float64]


def proportion(part: int, whole: int, rows: int, confidence: float) -> MetricValue:
    """``part / whole`` with Wilson's interval; undefined where ``whole`` is 0. ``rows`` are those behind the metric."""
    if whole == 0:
        return MetricValue(None, None, None, rows)
    value = part / whole
    low, high = wilson_interval(value, whole, confidence)
    return MetricValue(value, low, high, rows)


class Confusion:
    """Counts of shape (k, k), row: truth, column: decision, none negative and at least one above 0."""

    def __init__(self, matrix: NDArray[np.int64]) -> None:
        self.truth, self.said = np.nonzero(matrix)  # of the cells in use
        self.counts = matrix[self.truth, self.said]
        self.true_counts = matrix.sum(axis=1)
        self.said_counts = matrix.sum(axis=0)
        self.hit_counts = matrix.diagonal()
        self.rows = int(matrix.sum())
        self._share = self.counts / self.rows
        self._t = self.true_counts / self.rows
        self._c = self.said_counts / self.rows
        self._h = self.hit_counts / self.rows
        self._on = np.asarray(self.truth == self.said, np.float64)
        #: Classes that are true or decided on at least once: the others are no part of a macro average.
        self._seen = np.flatnonzero(self.true_counts + self.said_counts)

    def variance(self, slopes: _Floats) -> float:
        """Of the delta method, from the slope by the share of each cell in use."""
        weighted = self._share * slopes
        first = math.fsum(weighted.tolist())
        second = math.fsum((weighted * slopes).tolist())
        return max(0.0, second - first * first) / self.rows

    # -- agreement -----------------------------------------------------------------------------------------------

    def kappa(self) -> tuple[float, float] | None:
        """Cohen's kappa and its variance; None where chance alone agrees always.

        Reference: J. L. Fleiss, J. Cohen, B. S. Everitt, "Large sample standard errors of kappa and weighted kappa",
        Psychological Bulletin 72, 1969 (formula 13).
        """
        observed, chance = self._agreement()
        if chance >= 1.0:
            return None
        free = 1.0 - chance
        slopes = (self._on * free - (1.0 - observed) * (self._c[self.truth] + self._t[self.said])) / (free * free)
        return (observed - chance) / free, self.variance(slopes)

    def mcc(self) -> tuple[float, float] | None:
        """Matthews' correlation (R_K for more than two classes) and its variance; None if one side is constant.

        Reference: J. Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient",
        Computational Biology and Chemistry 28, 2004 (formula 8).
        """
        rows_squared = self.rows * self.rows
        true_spread = rows_squared - sum(count * count for count in self.true_counts.tolist())
        said_spread = rows_squared - sum(count * count for count in self.said_counts.tolist())
        if not true_spread or not said_spread:
            return None
        covariance = self.rows * int(self.hit_counts.sum()) - sum(
            a * b for a, b in zip(self.true_counts.tolist(), self.said_counts.tolist(), strict=True)
        )
        scale = math.sqrt(true_spread * said_spread)
        value = max(-1.0, min(1.0, covariance / scale))
        a, b, root = said_spread / rows_squared, true_spread / rows_squared, scale / rows_squared
        by_covariance = (self._on - self._c[self.truth] - self._t[self.said]) / root
        by_spread = value * (self._c[self.said] / a + self._t[self.truth] / b)
        return value, self.variance(by_covariance + by_spread)

    def _agreement(self) -> tuple[float, float]:
        squared = self.rows * self.rows
        chance = sum(a * b for a, b in zip(self.true_counts.tolist(), self.said_counts.tolist(), strict=True))
        return int(self.hit_counts.sum()) / self.rows, chance / squared

    # -- over the classes ----------------------------------------------------------------------------------------

    def recalls(self, confidence: float) -> list[Estimate]:
        """Recall of each class that is true at least once, with Wilson's limits."""
        found = []
        for hits, whole in zip(self.hit_counts.tolist(), self.true_counts.tolist(), strict=True):
            if whole:
                found.append((hits / whole, *wilson_interval(hits / whole, whole, confidence)))
        return found

    def macro(self, by: str) -> tuple[float, float]:
        """Mean ``precision``, ``recall`` or ``f1`` over the classes seen, 0 where it is 0/0, and its variance."""
        values, slope_truth, slope_said, slope_hit = self._each(by)
        value = math.fsum(values[self._seen].tolist()) / self._seen.size
        slopes = self._on * slope_hit[self.truth] + slope_truth[self.truth] + slope_said[self.said]
        return value, self.variance(slopes / self._seen.size)

    def weighted(self, by: str) -> tuple[float, float]:
        """The same, weighted by how often each class is true."""
        values, slope_truth, slope_said, slope_hit = self._each(by)
        value = math.fsum((self._t * values).tolist())
        slopes = (
            values[self.truth]
            + self._on * (self._t * slope_hit)[self.truth]
            + (self._t * slope_truth)[self.truth]
            + (self._t * slope_said)[self.said]
        )
        return value, self.variance(slopes)

    def _each(self, by: str) -> tuple[_Floats, _Floats, _Floats, _Floats]:
        """Value of each class, and its slopes by the share of its truths, of its decisions, and of its hits."""
        nothing = np.zeros_like(self._h)
        if by == "recall":
            values, inverse = _over(self._h, self._t)
            return values, -values * inverse, nothing, inverse
        if by == "precision":
            values, inverse = _over(self._h, self._c)
            return values, nothing, -values * inverse, inverse
        values, inverse = _over(2.0 * self._h, self._t + self._c)
        return values, -values * inverse, -values * inverse, 2.0 * inverse


def _over(part: _Floats, whole: _Floats) -> tuple[_Floats, _Floats]:
    """``part / whole`` and ``1 / whole``, 0 where ``whole`` is 0."""
    inverse = np.divide(1.0, whole, out=np.zeros_like(whole), where=whole > 0.0)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0), inverse


_Metric = Callable[[Confusion, float], MetricValue]


def _bounded(found: tuple[float, float] | None, rows: int, confidence: float, least: float = 0.0) -> MetricValue:
    if found is None:
        return MetricValue(None, None, None, rows)
    value, variance = found
    if rows < 2:
        return MetricValue(value, None, None, rows)
    return MetricValue(value, *bounded_interval(value, variance, rows, confidence, least), rows)


def _balanced(table: Confusion, confidence: float) -> MetricValue:
    recalls = table.recalls(confidence)
    value = math.fsum(recall for recall, _, _ in recalls) / len(recalls)
    low, high = mean_interval(recalls)
    return MetricValue(value, max(0.0, min(low, value)), min(1.0, max(high, value)), table.rows)


def _accuracy(table: Confusion, confidence: float) -> MetricValue:
    return proportion(int(table.hit_counts.sum()), table.rows, table.rows, confidence)


def _over_classes(average: str, by: str) -> _Metric:
    def metric(table: Confusion, confidence: float) -> MetricValue:
        found = table.macro(by) if average == "macro" else table.weighted(by)
        return _bounded(found, table.rows, confidence)

    return metric


#: Metrics of any confusion matrix. Micro averages and the weighted recall of single labels are the accuracy.
CONFUSION_METRICS: dict[str, _Metric] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced,
    "mcc": lambda table, confidence: _bounded(table.mcc(), table.rows, confidence, -1.0),
    "cohen_kappa": lambda table, confidence: _bounded(table.kappa(), table.rows, confidence, -1.0),
    "micro_precision": _accuracy,
    "micro_recall": _accuracy,
    "micro_f1": _accuracy,
    "weighted_recall": _accuracy,
    "macro_precision": _over_classes("macro", "precision"),
    "macro_recall": _over_classes("macro", "recall"),
    "macro_f1": _over_classes("macro", "f1"),
    "weighted_precision": _over_classes("weighted", "precision"),
    "weighted_f1": _over_classes("weighted", "f1"),
}
