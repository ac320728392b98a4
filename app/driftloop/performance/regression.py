"""Sums of a regression task: predicted numbers against what they turned out to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.exact_rows import add_rows
from driftloop.performance.intervals import normal_interval
from driftloop.performance.metrics import TASK_METRICS, MetricValue
from driftloop.profiles.exact import UNIT_EXPONENT, ExactSum, units_to_float

__all__ = ["RegressionSums"]

# e: prediction - label; d: label - center
_ERROR, _ABSOLUTE, _SQUARE, _FOURTH, _LABEL, _LABEL_SQUARE, _LABEL_CUBE, _LABEL_FOURTH, _CROSS, _CROSS_SQUARE = range(
    10
)
_NAMES: Final = ("e", "abs_e", "e2", "e4", "d", "d2", "d3", "d4", "e2d", "e2d2")
#: Beyond this many (squared) standard deviations between center and mean label, the fourth moment is rounding noise.
_FAR_CENTER: Final = 1e6


class RegressionSums:
    """Exact sums of powers and products of e = prediction - label and d = label - center, rounded elementwise first.

    ``center`` is any finite number near the labels."""

    __slots__ = ("center", "rows", "sums")

    def __init__(self, center: float) -> None:
        self.center = center
        self.rows = 0
        self.sums = tuple(ExactSum() for _ in _NAMES)

    def update(self, predictions: NDArray[np.float64], labels: NDArray[np.float64], sign: int) -> None:
        """Raises ``ValueError`` before anything is counted if a number is NaN or infinite."""
        if not (np.isfinite(predictions).all() and np.isfinite(labels).all()):
            raise ValueError("predictions and labels of a regression are finite numbers; at least one here is not")
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and ExactSum counts that apart
            terms = np.empty((len(_NAMES), predictions.size))
            np.subtract(predictions, labels, out=terms[_ERROR])
            np.abs(terms[_ERROR], out=terms[_ABSOLUTE])
            np.multiply(terms[_ERROR], terms[_ERROR], out=terms[_SQUARE])
            np.multiply(terms[_SQUARE], terms[_SQUARE], out=terms[_FOURTH])
            np.subtract(labels, self.center, out=terms[_LABEL])
            np.multiply(terms[_LABEL], terms[_LABEL], out=terms[_LABEL_SQUARE])
            np.multiply(terms[_LABEL], terms[_LABEL_SQUARE], out=terms[_LABEL_CUBE])
            np.multiply(terms[_LABEL_SQUARE], terms[_LABEL_SQUARE], out=terms[_LABEL_FOURTH])
            np.multiply(terms[_SQUARE], terms[_LABEL], out=terms[_CROSS])
            np.multiply(terms[_SQUARE], terms[_LABEL_SQUARE], out=terms[_CROSS_SQUARE])
        undefined = np.isnan(terms[_CROSS:])  # infinite times zero, where an error overflowed
        if undefined.any():
            terms[_CROSS:][undefined] = np.inf
        add_rows(self.sums, terms, sign)
        self.rows += sign * predictions.size

    def merge(self, other: RegressionSums) -> None:
        for mine, theirs in zip(self.sums, other.sums, strict=True):
            mine.merge(theirs)
        self.rows += other.rows

    def copy(self) -> RegressionSums:
        twin = RegressionSums.__new__(RegressionSums)
        twin.center = self.center
        twin.rows = self.rows
        twin.sums = tuple(total.copy() for total in self.sums)
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return self.rows >= 0 and all(self.sums[index].units >= 0 for index in (_ABSOLUTE, _SQUARE, _FOURTH))

    def _variance(self, first: int, second: int) -> float:
        """Sample variance, exactly from the sums; needs two rows. Infinite if a term overflowed."""
        mean, square = self.sums[first], self.sums[second]
        if not (mean.finite and square.finite):
            return math.inf
        spread = self.rows * (square.units << UNIT_EXPONENT) - mean.units * mean.units
        return units_to_float(max(0, spread), 2 * UNIT_EXPONENT, self.rows * (self.rows - 1))

    def _mean(self, first: int, second: int, confidence: float, least: float | None, shift: float = 0.0) -> MetricValue:
        rows = self.rows
        value = self.sums[first].mean(rows) + shift
        low = high = None
        if rows > 1:
            low, high = normal_interval(value, self._variance(first, second), rows, confidence)
        if low is not None and least is not None:
            low = max(least, low)
        return _finite(value, low, high, rows)

    def metrics(self, confidence: float) -> dict[str, MetricValue]:
        """Every regression metric, in the order of ``TASK_METRICS``. The interval of R² is by the delta method."""
        rows = self.rows
        mean_square = self._mean(_SQUARE, _FOURTH, confidence, 0.0)
        found = {
            "mae": self._mean(_ABSOLUTE, _SQUARE, confidence, 0.0),
            "rmse": MetricValue(_root(mean_square.value), _root(mean_square.low), _root(mean_square.high), rows),
            "r2": self._r2(mean_square, confidence),
            "bias": self._mean(_ERROR, _SQUARE, confidence, None),
            "mean_label": self._mean(_LABEL, _LABEL_SQUARE, confidence, None, self.center),
        }
        return {name: found[name] for name in TASK_METRICS["regression"]}

    def _r2(self, mean_square: MetricValue, confidence: float) -> MetricValue:
        rows = self.rows
        spread = self._variance(_LABEL, _LABEL_SQUARE) * ((rows - 1) / rows) if rows > 1 else 0.0
        if mean_square.value is None or not 0.0 < spread < math.inf:
            return MetricValue(None, None, None, rows)
        ratio = mean_square.value / spread
        low, high = normal_interval(1.0 - ratio, self._r2_variance(ratio, spread), rows, confidence)
        return _finite(1.0 - ratio, low, None if high is None else min(1.0, high), rows)

    def _r2_variance(self, ratio: float, spread: float) -> float:
        """Variance of a row's influence on R²: (ratio * w - e²) / spread with w = (label - mean label)²."""
        means = [total.mean(self.rows) for total in self.sums]
        if not all(map(math.isfinite, means)):
            return math.inf
        at = means[_LABEL]
        if at * at > _FAR_CENTER * spread:
            return math.inf
        w_square = means[_LABEL_FOURTH] - 4 * at * means[_LABEL_CUBE] + 6 * at**2 * means[_LABEL_SQUARE] - 3 * at**4
        cross = means[_CROSS_SQUARE] - 2 * at * means[_CROSS] + at**2 * means[_SQUARE]
        # Products, because a power that overflows raises.
        influence = means[_FOURTH] - 2 * ratio * cross + ratio * ratio * w_square
        scale = spread * spread
        return max(0.0, influence) / scale if math.isfinite(influence) and scale > 0.0 else math.inf

    def to_wire(self) -> dict[str, Any]:
        sums = {name: list(total.to_wire()) for name, total in zip(_NAMES, self.sums, strict=True)}
        return {"rows": self.rows, **sums}

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.rows = int(wire["rows"])
        self.sums = tuple(ExactSum.from_wire(wire[name]) for name in _NAMES)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegressionSums):
            return NotImplemented
        return self.rows == other.rows and self.sums == other.sums

    __hash__ = None  # type: ignore[assignment]


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(value)


def _finite(value: float, low: float | None, high: float | None, rows: int) -> MetricValue:
    if not math.isfinite(value):
        return MetricValue(None, None, None, rows)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return MetricValue(value, None, None, rows)
    return MetricValue(value, low, high, rows)
