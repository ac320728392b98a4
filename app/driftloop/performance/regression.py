"""Sums of a regression task: predicted numbers against what they turned out to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.exact_rows import add_rows
from driftloop.performance.explained_share import explained_influence, r2_influence
from driftloop.performance.intervals import normal_interval, z_value
from driftloop.performance.metrics import MetricValue
from driftloop.performance.relative_errors import even_shares, label_shares, squared_log_ratios
from driftloop.performance.relative_histogram import RelativeHistogram
from driftloop.profiles.exact import UNIT_EXPONENT, ExactSum, units_to_float
from driftloop.spec.metrics import metric_parameter

__all__ = ["RegressionSums"]

# e: prediction - label; d: label - center
_ERROR, _ABSOLUTE, _SQUARE, _FOURTH, _LABEL, _LABEL_SQUARE, _LABEL_CUBE, _LABEL_FOURTH, _CROSS, _CROSS_SQUARE = range(
    10
)
_NAMES: Final = ("e", "abs_e", "e2", "e4", "d", "d2", "d3", "d4", "e2d", "e2d2")
# Beside them: signed squares of e, its products for the variance of the explained share, errors in relation to size.
_SIGNED, _CUBE, _MIXED, _MIXED_SQUARE, _LOG, _LOG_SQUARE, _SHARE, _SHARE_SQUARE, _EVEN, _EVEN_SQUARE = range(10, 20)
_MORE_NAMES: Final = ("ee", "e3", "ed", "ed2", "log2", "log4", "ape", "ape2", "smape", "smape2")
_CHUNK: Final = 2048  # rows whose terms fit into a processor's cache
#: A quantile has an interval with so many rows beyond it on either side.
_LEAST_TAIL_ROWS: Final = 5


class RegressionSums:
    """Exact sums of powers and products of e = prediction - label and d = label - center, rounded elementwise first,
    and a histogram of e.

    ``center`` is any finite number near the labels. ``log_rows`` are those whose prediction and label are both above
    -1, ``share_rows`` those whose label is not 0: only they can be part of MSLE and MAPE."""

    __slots__ = ("center", "errors", "log_rows", "rows", "share_rows", "sums")

    def __init__(self, center: float) -> None:
        self.center = center
        self.rows = self.log_rows = self.share_rows = 0
        self.errors = RelativeHistogram()
        self.sums = tuple(ExactSum() for _ in _NAMES + _MORE_NAMES)

    def update(self, predictions: NDArray[np.float64], labels: NDArray[np.float64], sign: int) -> None:
        """Raises ``ValueError`` before anything is counted if a number is NaN or infinite."""
        if not (np.isfinite(predictions).all() and np.isfinite(labels).all()):
            raise ValueError("predictions and labels of a regression are finite numbers; at least one here is not")
        for start in range(0, predictions.size, _CHUNK):
            self._add(predictions[start : start + _CHUNK], labels[start : start + _CHUNK], sign)

    def _add(self, predictions: NDArray[np.float64], labels: NDArray[np.float64], sign: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, and ExactSum counts that apart
            terms = np.empty((len(_NAMES) + len(_MORE_NAMES), predictions.size))
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
            np.multiply(terms[_ERROR], terms[_ABSOLUTE], out=terms[_SIGNED])
            np.multiply(terms[_ERROR], terms[_SQUARE], out=terms[_CUBE])
            np.multiply(terms[_ERROR], terms[_LABEL], out=terms[_MIXED])
            np.multiply(terms[_ERROR], terms[_LABEL_SQUARE], out=terms[_MIXED_SQUARE])
            log_rows = squared_log_ratios(predictions, labels, terms[_LOG])
            share_rows = label_shares(terms[_ABSOLUTE], labels, terms[_SHARE])
            even_shares(predictions, labels, terms[_EVEN])
            for index in (_LOG, _SHARE, _EVEN):
                np.multiply(terms[index], terms[index], out=terms[index + 1])
            self.errors.add(np.clip(terms[_ERROR], -_LARGEST, _LARGEST), sign)
        undefined = np.isnan(terms[_CROSS:])  # infinite times zero, where an error overflowed
        if undefined.any():
            terms[_CROSS:][undefined] = np.inf
        add_rows(self.sums, terms, sign)
        self.rows += sign * predictions.size
        self.log_rows += sign * log_rows
        self.share_rows += sign * share_rows

    def merge(self, other: RegressionSums) -> None:
        for mine, theirs in zip(self.sums, other.sums, strict=True):
            mine.merge(theirs)
        self.errors.merge(other.errors)
        self.rows += other.rows
        self.log_rows += other.log_rows
        self.share_rows += other.share_rows

    def copy(self) -> RegressionSums:
        twin = RegressionSums.__new__(RegressionSums)
        twin.center = self.center
        twin.rows = self.rows
        twin.log_rows = self.log_rows
        twin.share_rows = self.share_rows
        twin.errors = self.errors.copy()
        twin.sums = tuple(total.copy() for total in self.sums)
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        least = min(self.rows, self.log_rows, self.share_rows)
        return least >= 0 and all(self.sums[index].units >= 0 for index in (_ABSOLUTE, _SQUARE, _FOURTH))

    def _variance(self, first: int, second: int, rows: int | None = None) -> float:
        """Sample variance, exactly from the sums; needs two rows. Infinite if a term overflowed."""
        mean, square = self.sums[first], self.sums[second]
        if not (mean.finite and square.finite):
            return math.inf
        rows = self.rows if rows is None else rows
        spread = rows * (square.units << UNIT_EXPONENT) - mean.units * mean.units
        return units_to_float(max(0, spread), 2 * UNIT_EXPONENT, rows * (rows - 1))

    def _mean(
        self,
        first: int,
        second: int,
        confidence: float,
        least: float | None,
        shift: float = 0.0,
        rows: int | None = None,
    ) -> MetricValue:
        rows = self.rows if rows is None else rows
        if rows <= 0:
            return MetricValue(None, None, None, 0)
        value = self.sums[first].mean(rows) + shift
        low = high = None
        if rows > 1:
            low, high = normal_interval(value, self._variance(first, second, rows), rows, confidence)
        if low is not None and least is not None:
            low = max(least, low)
        return _finite(value, low, high, rows)

    def metrics(self, confidence: float, names: Iterable[str]) -> dict[str, MetricValue]:
        """These regression metrics; needs at least one row. Raises ``ValueError`` for a name that is none."""
        # Sums of an older version, in part or whole, do not have all rows in their newer parts.
        whole = self.errors.consistent and self.errors.rows == self.rows
        found = {}
        for name in names:
            if name in _OLD_METRICS:
                found[name] = _OLD_METRICS[name](self, confidence)
            elif whole:
                found[name] = self._newer(name, confidence)
            else:
                found[name] = MetricValue(None, None, None, self.rows)
        return found

    def _newer(self, name: str, confidence: float) -> MetricValue:
        if name in _NEW_METRICS:
            return _NEW_METRICS[name](self, confidence)
        parameter = metric_parameter("regression", name)
        if parameter is None:
            raise ValueError(f"a regression task has no metric {name!r}")
        family, q = parameter
        if family == "pinball":
            return self._pinball(q, confidence)
        return self._quantile(q, confidence, absolute=family == "absolute_error")

    def _mse(self, confidence: float) -> MetricValue:
        return self._mean(_SQUARE, _FOURTH, confidence, 0.0)

    def _rmse(self, confidence: float) -> MetricValue:
        square = self._mse(confidence)
        return MetricValue(_root(square.value), _root(square.low), _root(square.high), self.rows)

    def _msle(self, confidence: float) -> MetricValue:
        """Undefined as soon as one prediction or label is -1 or less."""
        if self.log_rows != self.rows:
            return MetricValue(None, None, None, self.rows)
        return self._mean(_LOG, _LOG_SQUARE, confidence, 0.0)

    def _pinball(self, q: float, confidence: float) -> MetricValue:
        """Mean of q (label - prediction) where that is positive, else of (1 - q) (prediction - label)."""
        rows, share = self.rows, Fraction(q)
        signed, absolute, square = self.sums[_ERROR], self.sums[_ABSOLUTE], self.sums[_SQUARE]
        if not (signed.finite and absolute.finite):
            return MetricValue(None, None, None, rows)
        total = (absolute.units + (1 - 2 * share) * signed.units) / 2
        value = _from_units(total / rows)
        low = high = None
        if rows > 1 and square.finite:
            signed_square = self.sums[_SIGNED].units
            squares = (1 - share) ** 2 * (square.units + signed_square) + share**2 * (square.units - signed_square)
            spread = (squares / 2 - total * total / (rows << UNIT_EXPONENT)) / (rows - 1)
            low, high = normal_interval(value, _from_units(max(Fraction(0), spread)), rows, confidence)
        return _finite(value, None if low is None else max(0.0, low), high, rows)

    def _quantile(self, q: float, confidence: float, *, absolute: bool) -> MetricValue:
        """Quantile of the error, or of its magnitude, from the histogram; its limits are those of the ranks (normal
        approximation of the binomial), the histogram's own error added.

        Reference: W. J. Conover, Practical Nonparametric Statistics, 3rd edition, 1999, section 3.2.
        """
        found = self.errors.quantile(q, absolute=absolute)
        if found is None or not self.sums[_ERROR].finite:
            return MetricValue(None, None, None, self.rows)
        value, bound = found
        if self.rows * min(q, 1.0 - q) < _LEAST_TAIL_ROWS:
            return MetricValue(value, None, None, self.rows, bound)
        half = z_value(confidence) * math.sqrt(q * (1.0 - q) / self.rows)
        below = self.errors.quantile(max(0.0, q - half), absolute=absolute) or found
        above = self.errors.quantile(min(1.0, q + half), absolute=absolute) or found
        low = below[0] - below[1]
        return MetricValue(value, max(0.0, low) if absolute else low, above[0] + above[1], self.rows, bound)

    def _max_error(self, confidence: float) -> MetricValue:
        """Of these very rows: its limits are the histogram's error alone."""
        found = self.errors.largest()
        if found is None or not self.sums[_ERROR].finite:
            return MetricValue(None, None, None, self.rows)
        return MetricValue(found[0], max(0.0, found[0] - found[1]), found[0] + found[1], self.rows, found[1])

    def _explained_variance(self, confidence: float) -> MetricValue:
        """1 - variance of the error / variance of the label; the interval is by the delta method."""
        rows = self.rows
        none = MetricValue(None, None, None, rows)
        if rows < 2:
            return none
        label_spread = self._variance(_LABEL, _LABEL_SQUARE) * ((rows - 1) / rows)
        error_spread = self._variance(_ERROR, _SQUARE) * ((rows - 1) / rows)
        if not 0.0 < label_spread < math.inf or not math.isfinite(error_spread):
            return none
        ratio = error_spread / label_spread
        variance = explained_influence(self._means(), ratio, label_spread, error_spread)
        low, high = normal_interval(1.0 - ratio, variance, rows, confidence)
        return _finite(1.0 - ratio, low, None if high is None else min(1.0, high), rows)

    def _r2(self, confidence: float) -> MetricValue:
        """The interval is by the delta method."""
        rows = self.rows
        mean_square = self._mse(confidence)
        spread = self._variance(_LABEL, _LABEL_SQUARE) * ((rows - 1) / rows) if rows > 1 else 0.0
        if mean_square.value is None or not 0.0 < spread < math.inf:
            return MetricValue(None, None, None, rows)
        ratio = mean_square.value / spread
        low, high = normal_interval(1.0 - ratio, r2_influence(self._means(), ratio, spread), rows, confidence)
        return _finite(1.0 - ratio, low, None if high is None else min(1.0, high), rows)

    def _means(self) -> dict[str, float]:
        return {name: total.mean(self.rows) for name, total in zip(_NAMES + _MORE_NAMES, self.sums, strict=True)}

    def to_wire(self) -> dict[str, Any]:
        sums = {name: list(total.to_wire()) for name, total in zip(_NAMES + _MORE_NAMES, self.sums, strict=True)}
        return {
            "rows": self.rows,
            **sums,
            "log_rows": self.log_rows,
            "share_rows": self.share_rows,
            "errors": self.errors.to_wire(),
        }

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit.

        Sums from before there was a histogram load without it: the metrics that came with it are undefined.
        """
        self.rows = int(wire["rows"])
        more = _MORE_NAMES if "errors" in wire else ()
        sums = [ExactSum.from_wire(wire[name]) for name in _NAMES + more]
        self.sums = (*sums, *(ExactSum() for _ in range(len(_MORE_NAMES) - len(more))))
        self.log_rows = int(wire.get("log_rows", 0))
        self.share_rows = int(wire.get("share_rows", 0))
        self.errors.load(wire.get("errors", [[], []]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegressionSums):
            return NotImplemented
        mine = (self.rows, self.log_rows, self.share_rows, self.sums)
        theirs = (other.rows, other.log_rows, other.share_rows, other.sums)
        return mine == theirs and self.errors == other.errors

    __hash__ = None  # type: ignore[assignment]


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(value)


def _finite(value: float, low: float | None, high: float | None, rows: int) -> MetricValue:
    if not math.isfinite(value):
        return MetricValue(None, None, None, rows)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return MetricValue(value, None, None, rows)
    return MetricValue(value, low, high, rows)


_LARGEST: Final = 1.7976931348623157e308

_OLD_METRICS: Final[dict[str, Callable[[RegressionSums, float], MetricValue]]] = {
    "mae": lambda sums, confidence: sums._mean(_ABSOLUTE, _SQUARE, confidence, 0.0),
    "rmse": RegressionSums._rmse,
    "mse": RegressionSums._mse,
    "r2": RegressionSums._r2,
    "bias": lambda sums, confidence: sums._mean(_ERROR, _SQUARE, confidence, None),
    "mean_label": lambda sums, confidence: sums._mean(_LABEL, _LABEL_SQUARE, confidence, None, sums.center),
}
_NEW_METRICS: Final[dict[str, Callable[[RegressionSums, float], MetricValue]]] = {
    "msle": RegressionSums._msle,
    "mape": lambda sums, confidence: sums._mean(_SHARE, _SHARE_SQUARE, confidence, 0.0, rows=sums.share_rows),
    "smape": lambda sums, confidence: sums._mean(_EVEN, _EVEN_SQUARE, confidence, 0.0),
    "explained_variance": RegressionSums._explained_variance,
    "median_absolute_error": lambda sums, confidence: sums._quantile(0.5, confidence, absolute=True),
    "max_error": RegressionSums._max_error,
}


def _from_units(units: Fraction) -> float:
    return units_to_float(units.numerator, UNIT_EXPONENT, units.denominator)
