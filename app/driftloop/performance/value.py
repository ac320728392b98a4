"""What decisions were worth: a price for each cell of the confusion matrix, times a number of each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.exact_rows import add_rows
from driftloop.performance.intervals import normal_interval
from driftloop.performance.metrics import MetricValue
from driftloop.profiles.exact import UNIT_EXPONENT, ExactSum
from driftloop.spec.model import ValueSpec

__all__ = ["ValueSums"]

_UNIT: Final = 1 << UNIT_EXPONENT
_CELLS: Final = 4  # true negatives, false positives, false negatives, true positives


class ValueSums:
    """Sums of the rows' weights and their squares for each cell of the confusion matrix; none without a weight column,
    where the counts of the matrix say it all. Prices are no part of the sums, so other prices need no other sums.

    Rows whose weight is unknown (NaN) or infinite count for nothing.
    """

    __slots__ = ("counts", "prices", "sums")

    def __init__(self, value: ValueSpec) -> None:
        self.prices = (value.tn, value.fp, value.fn, value.tp)
        self.counts = [0] * _CELLS
        self.sums = tuple(ExactSum() for _ in range(2 * _CELLS)) if value.column is not None else ()

    def update(self, cell: NDArray[np.int64], weights: NDArray[np.float64] | None, sign: int) -> None:
        """Add or take out rows: ``cell`` (n,) is the place in the confusion matrix, ``weights`` (n,)."""
        if not self.sums:
            return
        if weights is None:
            raise ValueError("the value of a row needs its weight: hand in the values of the spec's value column")
        if weights.shape != cell.shape:
            raise ValueError(f"there must be one weight for each row, got {weights.size} for {cell.size}")
        known = np.isfinite(weights)
        if not known.all():
            cell, weights = cell[known], weights[known]
        if not cell.size:
            return
        rows = np.arange(cell.size)
        terms = np.zeros((2 * _CELLS, cell.size))
        terms[cell, rows] = weights
        with np.errstate(over="ignore"):
            terms[cell + _CELLS, rows] = weights * weights
        add_rows(self.sums, terms, sign)
        for index, count in enumerate(np.bincount(cell, minlength=_CELLS).tolist()):
            self.counts[index] += sign * count

    def merge(self, other: ValueSums) -> None:
        for mine, theirs in zip(self.sums, other.sums, strict=True):
            mine.merge(theirs)
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]

    def copy(self) -> ValueSums:
        twin = ValueSums.__new__(ValueSums)
        twin.prices = self.prices
        twin.counts = self.counts.copy()
        twin.sums = tuple(total.copy() for total in self.sums)
        return twin

    def metrics(self, confusion: Sequence[int], confidence: float) -> dict[str, MetricValue]:
        """``value``: sum over the rows of price times weight; ``mean_value``: that for each row; normal intervals."""
        rows = sum(self.counts) if self.sums else sum(confusion)
        none = MetricValue(None, None, None, max(0, rows))
        if rows <= 0 or not all(total.finite for total in self.sums[:_CELLS]):
            return {"value": none, "mean_value": none}
        prices = [Fraction(price) for price in self.prices]
        firsts = [Fraction(total.units, _UNIT) for total in self.sums[:_CELLS]] or [Fraction(n) for n in confusion]
        seconds = [Fraction(total.units, _UNIT) for total in self.sums[_CELLS:]] or firsts
        exact = sum((price * first for price, first in zip(prices, firsts, strict=True)), Fraction(0))
        squares = sum((price * price * second for price, second in zip(prices, seconds, strict=True)), Fraction(0))
        total, mean = _float(exact), _float(exact / rows)
        if not math.isfinite(total):
            return {"value": none, "mean_value": none}
        low = high = None
        if rows > 1 and all(total.finite for total in self.sums):
            low, high = normal_interval(mean, _float((squares - exact * exact / rows) / (rows - 1)), rows, confidence)
        if low is None or high is None:
            return {"value": MetricValue(total, None, None, rows), "mean_value": MetricValue(mean, None, None, rows)}
        return {
            "value": MetricValue(total, low * rows, high * rows, rows),
            "mean_value": MetricValue(mean, low, high, rows),
        }

    def to_wire(self) -> dict[str, Any]:
        return {"counts": self.counts, "sums": [list(total.to_wire()) for total in self.sums]}

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        counts = [int(count) for count in wire["counts"]]
        if len(counts) != _CELLS or len(wire["sums"]) != 2 * _CELLS:
            raise ValueError("the sums of a value are four counts and eight sums")
        self.counts = counts
        self.sums = tuple(ExactSum.from_wire(total) for total in wire["sums"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueSums):
            return NotImplemented
        return self.counts == other.counts and self.sums == other.sums

    __hash__ = None  # type: ignore[assignment]


def _float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
