"""Distances between a window and its reference, computed from counts.

All of them are None when either side has no values. "Reference" and "current" counts are integer arrays of the same
shape (bins,); numeric features bring their counts as :class:`NumericReference` and :class:`NumericSummary`.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.anchors import OFFSET_ONE, NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.numeric import NumericSummary

__all__ = [
    "category_counts",
    "decile_counts",
    "jensen_shannon",
    "ks_statistic",
    "psi",
    "scaled_wasserstein",
    "smoothed_shares",
    "wasserstein",
]

Counts = NDArray[np.int64]

_BINS = 10


def ks_statistic(reference: NumericReference, current: NumericSummary) -> float | None:
    """The two-sample Kolmogorov-Smirnov statistic: the largest distance of the two distribution functions.

    Exact if all distinct values of the reference are anchors; otherwise at most the share of the reference between two
    neighbouring anchors (1/511 of a continuous reference) too small.
    """
    rows = current.rows
    if not rows or not reference.rows:
        return None
    # Integers until the one division: the same value as from sorted samples, to the last bit.
    gaps = np.cumsum(current.counts) * reference.rows - np.cumsum(reference.count_array) * rows
    return int(np.abs(gaps).max()) / (rows * reference.rows)


def wasserstein(reference: NumericReference, current: NumericSummary) -> float | None:
    """The first Wasserstein distance, the area between the two distribution functions, in the feature's own unit.

    In an interval between anchors the signed area is known exactly (to 2**-32 of the interval). Where the distribution
    functions cross within an interval that holds more than one value, the lesser of the two areas is taken as that of a
    linear course. If not all distinct values of the reference are anchors, crossings back and forth within one interval
    are not seen; for a continuous reference that is some thousandths of its standard deviation.
    """
    rows = current.rows
    if not rows or not reference.rows:
        return None
    gaps = np.cumsum(current.counts) / rows - np.cumsum(reference.count_array) / reference.rows
    left, right = gaps[1:-2:2], gaps[2:-1:2]
    # A value at offset u raises the mean of the distribution function over the interval by (1 - u) / rows.
    current_rise = (current.counts[2:-1:2] - current.offsets / OFFSET_ONE) / rows
    reference_rise = (reference.count_array[2:-1:2] - reference.offset_array / OFFSET_ONE) / reference.rows
    mean = left + current_rise - reference_rise
    area = np.abs(mean)
    crossing = left * right < 0
    values = current.counts[2:-1:2] + reference.count_array[2:-1:2]
    area[crossing] = _crossing_area(left[crossing], right[crossing], mean[crossing], values[crossing])
    # A reference of merged windows may reach beyond the anchors too; the difference of the mean distances is then the
    # area if one of the two lies further out throughout, and a bound from below otherwise.
    below = abs(current.below / rows - reference.below / reference.rows)
    tails = below + abs(current.above / rows - reference.above / reference.rows)
    with np.errstate(over="ignore"):
        terms = area * reference.widths
    return _bounded(float(terms.sum()) / reference.shrink + tails)


def _crossing_area(
    left: NDArray[np.float64], right: NDArray[np.float64], mean: NDArray[np.float64], values: Counts
) -> NDArray[np.float64]:
    """Mean absolute difference over intervals at whose ends the difference has the values ``left`` and ``right``, of
    unequal signs, and over which its mean is ``mean``."""
    rise = np.abs(left - right)
    # The mean is the area of one sign less that of the other; add the lesser twice, as the triangle of a linear course.
    opposite = np.where(left * mean > 0, right, left)
    linear = np.minimum(np.abs(mean) + opposite**2 / rise, np.maximum(np.abs(left), np.abs(right)))
    # With one value the difference is a step, from left to right at the place that the mean tells.
    share = np.clip((mean - right) / (left - right), 0.0, 1.0)
    step = share * np.abs(left) + (1 - share) * np.abs(right)
    return np.maximum(np.abs(mean), np.where(values == 1, step, linear))


def scaled_wasserstein(reference: NumericReference, current: NumericSummary) -> float | None:
    """The Wasserstein distance in standard deviations of the reference.

    For a constant reference, which has none, the share of the window's values that differ from the constant (and in
    general the total variation over values below, on and above it).
    """
    distance = wasserstein(reference, current)
    if distance is None:
        return None
    if not reference.std:
        gaps = np.abs(current.counts * reference.rows - reference.count_array * current.rows)
        return int(gaps.sum()) / (2 * current.rows * reference.rows)
    return _bounded(distance / reference.std)


def psi(reference: Counts, current: Counts) -> float | None:
    """Population stability index: the sum over bins of (q - p) ln(q / p).

    Empty bins are smoothed by B/2 pseudo-rows on either side, B being the bins that are not empty on both, spread like
    the two samples pooled: m = (r + c) / (R + C), p = (r + m B/2) / (R + B/2), q = (c + m B/2) / (C + B/2). Pseudo-rows
    spread evenly instead would make two samples of one distribution and different size look different.
    """
    shares = smoothed_shares(reference, current)
    if shares is None:
        return None
    p, q = shares
    return max(float(((q - p) * np.log(q / p)).sum()), 0.0)


def smoothed_shares(reference: Counts, current: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Shares of both, all positive, by bin that is not empty on both sides: see :func:`psi`."""
    reference_rows, rows = int(reference.sum()), int(current.sum())
    if not reference_rows or not rows:
        return None
    filled = (reference > 0) | (current > 0)
    r, c = reference[filled], current[filled]
    pseudo = r.size / 2
    added = (r + c) * (pseudo / (reference_rows + rows))
    return (r + added) / (reference_rows + pseudo), (c + added) / (rows + pseudo)


def jensen_shannon(reference: Counts, current: Counts) -> float | None:
    """The Jensen-Shannon distance: the square root of the divergence to base 2, in [0, 1]. No smoothing is needed.

    J. Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37(1), 1991.
    """
    reference_rows, rows = int(reference.sum()), int(current.sum())
    if not reference_rows or not rows:
        return None
    p, q = reference / reference_rows, current / rows
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def _relative_entropy(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    filled = p > 0
    return float((p[filled] * np.log2(p[filled] / q[filled])).sum())


def decile_counts(reference: NumericReference, current: NumericSummary) -> tuple[Counts, Counts]:
    """Counts of both in bins of about a tenth of the reference each; the outer bins reach to infinity.

    A value that alone holds a tenth of the reference or more has a bin of its own, so that zero-inflated, few-valued
    and constant features are told apart from what lies beside them. Equal-width bins would let one outlier hide all.
    """
    counts = reference.count_array
    if not reference.rows:
        return counts, current.counts
    cumulative = np.cumsum(counts)
    # Each cut is the last position of a bin; positions alternate between intervals and anchors.
    cuts = cumulative.searchsorted(np.arange(1, _BINS) * reference.rows / _BINS)
    heavy = np.flatnonzero(counts[1::2] * _BINS >= reference.rows) * 2 + 1
    cuts = np.unique(np.concatenate([cuts, heavy - 1, heavy]))
    starts = np.concatenate([[0], cuts[cuts < counts.size - 1] + 1])
    return np.add.reduceat(counts, starts), np.add.reduceat(current.counts, starts)


def category_counts(reference: CategoricalReference, current: CategoricalSummary) -> tuple[Counts, Counts]:
    """Counts of both by category in the order of names, and last of all categories that the reference does not keep."""
    names = reference.names
    return (
        np.array([*(reference.categories[name] for name in names), reference.other], dtype=np.int64),
        np.array([*(current.counts.get(name, 0) for name in names), current.unseen], dtype=np.int64),
    )


def _bounded(value: float) -> float:
    return min(value, sys.float_info.max)
