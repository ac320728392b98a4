"""Sums of small bounded numbers as integers: exact, so the same in any order and any split into batches."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.intervals import normal_interval
from driftloop.performance.metrics import MetricValue

__all__ = ["BoundedSums"]

_FRACTION_BITS: Final = 50
_SCALE: Final = float(2**_FRACTION_BITS)
_LOW_BITS: Final = 31
_LOW_MASK: Final = 2**_LOW_BITS - 1


class BoundedSums:
    """``count`` sums side by side of terms with absolute value up to 2**12 = 4096.

    Each term is rounded to a multiple of 2**-50 (8.9e-16) before it is added; from there on everything is exact.
    """

    __slots__ = ("totals",)

    def __init__(self, count: int) -> None:
        self.totals = [0] * count

    def add(self, terms: NDArray[np.float64], sign: int) -> None:
        """Add (``sign`` 1) or take out again (-1) terms of shape (count, n). The array is used as scratch space."""
        terms *= _SCALE
        np.rint(terms, out=terms)
        units = terms.astype(np.int64)
        # Halves, so that the sums over a batch of up to 2**32 rows stay within int64.
        high = (units >> _LOW_BITS).sum(axis=1).tolist()
        units &= _LOW_MASK
        low = units.sum(axis=1).tolist()
        totals = self.totals
        for index, (h, part) in enumerate(zip(high, low, strict=True)):
            totals[index] += sign * ((h << _LOW_BITS) + part)

    def add_at(self, indexes: NDArray[np.int64], terms: NDArray[np.float64], sign: int) -> None:
        """Add (``sign`` 1) or take out again (-1) term i to sum ``indexes[i]``; both of shape (n,)."""
        units = np.rint(terms * _SCALE).astype(np.int64)
        high = np.zeros(len(self.totals), np.int64)
        low = np.zeros(len(self.totals), np.int64)
        np.add.at(high, indexes, units >> _LOW_BITS)
        np.add.at(low, indexes, units & _LOW_MASK)
        for index in np.flatnonzero(high | low).tolist():
            self.totals[index] += sign * ((int(high[index]) << _LOW_BITS) + int(low[index]))

    def merge(self, other: BoundedSums) -> None:
        self.totals = [mine + theirs for mine, theirs in zip(self.totals, other.totals, strict=True)]

    def copy(self) -> BoundedSums:
        twin = BoundedSums(0)
        twin.totals = self.totals.copy()
        return twin

    def mean(self, index: int, rows: int) -> float:
        """Sum ``index`` over ``rows`` > 0, rounded once."""
        return self.totals[index] / (rows << _FRACTION_BITS)

    def variance(self, index: int, square_index: int, rows: int) -> float:
        """Sample variance of the terms, given the index of the sum of their squares; ``rows`` > 1. Never negative."""
        spread = rows * (self.totals[square_index] << _FRACTION_BITS) - self.totals[index] ** 2
        return max(0, spread) / ((rows * (rows - 1)) << (2 * _FRACTION_BITS))

    def mean_metric(self, index: int, rows: int, confidence: float, most: float | None) -> MetricValue:
        """The mean of terms from 0 to ``most`` (None: unbounded), whose squares are summed next to them, with its
        normal interval."""
        mean = self.mean(index, rows)
        if rows < 2:
            return MetricValue(mean, None, None, rows)
        low, high = normal_interval(mean, self.variance(index, index + 1, rows), rows, confidence)
        if low is None or high is None:
            return MetricValue(mean, None, None, rows)
        return MetricValue(mean, max(0.0, low), high if most is None else min(most, high), rows)

    def to_wire(self) -> list[str]:
        """Hexadecimal integers: JSON readers elsewhere may not keep more than 53 bits of a number."""
        return [f"{total:x}" for total in self.totals]

    def load(self, wire: object) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` if it is not the same number of them."""
        if not isinstance(wire, list) or len(wire) != len(self.totals):
            raise ValueError(f"expected {len(self.totals)} sums as hexadecimal texts, got {str(wire)[:80]}")
        self.totals = [int(text, 16) for text in wire]

    def __eq__(self, other: object) -> bool:
        return self.totals == other.totals if isinstance(other, BoundedSums) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
