"""Shifts of the mean and of quantiles, in standard deviations of the reference, with intervals.

The statistic is the size of the shift, its sign is in ``change``. Of a constant reference, which has no deviation, the
share of the window's values that differ is given instead (without interval), 0 where mean or quantile did not move.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik, stdtrit

from driftloop.drift.pairs import CONFIDENCE, NumericPair, Outcome
from driftloop.profiles.anchors import OFFSET_ONE, NumericReference

__all__ = ["mean_shift", "median_shift", "quantile_05_shift", "quantile_95_shift"]


def mean_shift(pair: NumericPair) -> Outcome:
    """Difference of the means, exact, with Welch's interval.

    B. L. Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34(1-2), 1947. A distance, not a test: Welch's p-values are too small for few values of a skewed feature.
    """
    reference, window = pair.reference, pair.window
    mean, reference_mean, std = window.mean(), reference.mean, reference.std
    assert mean is not None
    assert reference_mean is not None
    if not std:
        return _off_constant(pair, mean - reference_mean if abs(mean) < 1e300 else mean)
    shift = _in_deviations(mean, reference_mean, std)
    spread = window.std()
    if spread is None or pair.reference_rows < 2:
        return Outcome(abs(shift), change=shift)
    own, others = (spread / std) ** 2 / pair.rows if spread / std < 1e150 else math.inf, 1 / pair.reference_rows
    if not math.isfinite(own):
        return Outcome(abs(shift), change=shift)
    freedom = (own + others) ** 2 / (own**2 / (pair.rows - 1) + others**2 / (pair.reference_rows - 1))
    reach = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * math.sqrt(own + others)
    return _sized(shift, shift - reach, shift + reach)


def median_shift(pair: NumericPair) -> Outcome:
    """Difference of the medians: see :func:`_quantile_shift`."""
    return _quantile_shift(pair, 0.5)


def quantile_05_shift(pair: NumericPair) -> Outcome:
    """Difference of the 5 % quantiles: see :func:`_quantile_shift`."""
    return _quantile_shift(pair, 0.05)


def quantile_95_shift(pair: NumericPair) -> Outcome:
    """Difference of the 95 % quantiles: see :func:`_quantile_shift`."""
    return _quantile_shift(pair, 0.95)


def _quantile_shift(pair: NumericPair, level: float) -> Outcome:
    """A quantile is the smallest value with at least ``level`` of the rows up to it (``method="inverted_cdf"`` of
    numpy). It is exact where it falls on an anchor or on the only value between two anchors, else between the same two
    anchors as the true one.

    The interval is made of order statistics and assumes nothing of the distribution: both quantiles are inside their
    binomial intervals of 97.5 % (H. A. David, H. N. Nagaraja, "Order statistics", 3rd edition, section 7.1), so their
    difference is within those intervals' differences with at least 95 %. A bound that falls between two anchors is
    moved outward to the anchor. Too few rows for a bound on one side leave it open (None).
    """
    reference, window = pair.reference, pair.window
    std = reference.std
    own = _Ranks(reference, pair.counts, window.offsets, window.minimum, window.maximum)
    theirs = _Ranks(reference, pair.reference_counts, reference.offset_array, reference.minimum, reference.maximum)
    quantile, reference_quantile = own.quantile(level), theirs.quantile(level)
    if not std:
        return _off_constant(
            pair, 0.0 if quantile == reference_quantile else math.copysign(1.0, quantile - reference_quantile)
        )
    shift = _in_deviations(quantile, reference_quantile, std)
    low, high = own.interval(level)
    reference_low, reference_high = theirs.interval(level)
    return _sized(
        shift,
        None if low is None or reference_high is None else _in_deviations(low, reference_high, std),
        None if high is None or reference_low is None else _in_deviations(high, reference_low, std),
    )


class _Ranks:
    """Values by rank, from counts by position."""

    def __init__(
        self,
        reference: NumericReference,
        counts: NDArray[np.int64],
        offsets: NDArray[np.int64],
        minimum: float | None,
        maximum: float | None,
    ) -> None:
        assert minimum is not None
        assert maximum is not None
        self._anchors = reference.anchors
        self._counts = counts
        self._until = np.cumsum(counts)
        self._offsets = offsets
        self._minimum = minimum
        self._maximum = maximum
        self.rows = int(self._until[-1])

    def quantile(self, level: float) -> float:
        return self._value(max(math.ceil(level * self.rows - 1e-9), 1))

    def interval(self, level: float) -> tuple[float | None, float | None]:
        """Order statistics on either side of the true quantile with at least 97.5 % together."""
        tail = (1 - CONFIDENCE) / 4
        lower, upper = _binomial_quantile(tail, self.rows, level), _binomial_quantile(1 - tail, self.rows, level) + 1
        return (
            self._bounds(lower)[0] if lower >= 1 else None,
            self._bounds(upper)[1] if upper <= self.rows else None,
        )

    def _bounds(self, rank: int) -> tuple[float, float]:
        """Between which two numbers the value of the rank (from 1) is for sure; equal where it is known."""
        position = int(self._until.searchsorted(rank))
        before = position // 2
        if position % 2:
            return self._anchors[before], self._anchors[before]
        low = self._anchors[before - 1] if before else self._minimum
        high = self._anchors[before] if before < len(self._anchors) else self._maximum
        return max(low, self._minimum), min(high, self._maximum)

    def _value(self, rank: int) -> float:
        position = int(self._until.searchsorted(rank))
        low, high = self._bounds(rank)
        if low == high:
            return low
        values = int(self._counts[position])
        place = rank - int(self._until[position]) + values  # from 1 to values
        if 0 < position < self._counts.size - 1 and values == 1:
            left, right = self._anchors[position // 2 - 1], self._anchors[position // 2]
            share = int(self._offsets[position // 2 - 1]) / OFFSET_ONE
        elif position == 0:
            left, right, share = low, high, (place - 1) / values  # the first is the minimum
        elif position == self._counts.size - 1:
            left, right, share = low, high, place / values  # the last is the maximum
        else:
            left, right, share = low, high, place / (values + 1)
        return min(max(left * (1 - share) + right * share, low), high)


def _binomial_quantile(probability: float, rows: int, level: float) -> int:
    """The smallest k with P(binomial(rows, level) <= k) >= probability."""
    found = bdtrik(probability, rows, level)
    k = max(math.ceil(float(found)), 0) if math.isfinite(found) else 0
    if k > 0 and bdtr(k - 1, rows, level) >= probability:
        k -= 1
    return min(k, rows)


def _in_deviations(value: float, other: float, std: float) -> float:
    """(value - other) / std, within float64."""
    shift = (value / 2 - other / 2) / std * 2
    return min(max(shift, -sys.float_info.max), sys.float_info.max)


def _off_constant(pair: NumericPair, change: float) -> Outcome:
    if not change:
        return Outcome(0.0, change=0.0)
    share = pair.share_off_constant
    return Outcome(share, change=math.copysign(share, change))


def _sized(shift: float, low: float | None, high: float | None) -> Outcome:
    """The size of a shift and the interval of the size, from those of the shift."""
    low_size, high_size = (None if bound is None else abs(bound) for bound in (low, high))
    if low is not None and low > 0.0:
        bounds = low_size, high_size
    elif high is not None and high < 0.0:
        bounds = high_size, low_size
    else:
        bounds = 0.0, None if low_size is None or high_size is None else max(low_size, high_size)
    return Outcome(abs(shift), low=bounds[0], high=bounds[1], change=shift)
