"""Wasserstein and energy distance as methods, each normed and in the feature's own unit."""

from __future__ import annotations

import math
import sys

import numpy as np

from driftloop.drift.pairs import NumericPair, Outcome
from driftloop.profiles.anchors import OFFSET_ONE

__all__ = ["energy_normed", "energy_raw", "wasserstein_normed", "wasserstein_raw"]

# Gini's mean difference of normal values in standard deviations.
_NORMAL_MEAN_DIFFERENCE = 2 / math.sqrt(math.pi)


def wasserstein_raw(pair: NumericPair) -> Outcome:
    """In the feature's own unit: see :func:`driftloop.drift.distances.wasserstein`."""
    return Outcome(pair.wasserstein)


def wasserstein_normed(pair: NumericPair) -> Outcome:
    """In standard deviations of the reference; for a constant reference the share of values that differ."""
    if not pair.reference.std:
        return Outcome(pair.share_off_constant)
    return Outcome(min(pair.wasserstein / pair.reference.std, sys.float_info.max))


def energy_raw(pair: NumericPair) -> Outcome:
    """sqrt(2 integral (F - G)**2 dx) as ``scipy.stats.energy_distance``, in the square root of the feature's unit.

    L. Baringhaus, C. Franz, "On a new multivariate two-sample test", Journal of Multivariate Analysis 88(1), 2004.

    Between two anchors the difference of the distribution functions has known values at both ends and a known mean.
    With at most one value there it is known everywhere and its square is exact; with more the square's mean is that of
    evenly spread values. The error of the integral is at most the sum over the intervals of width (c / n + r / m)**2 /
    4, c and r being the rows in it. Outside the anchors one value is exact; of c values with the sum S of distances to
    the anchor the integral is between S / n**2 and c S / n**2, and the estimate takes their spread from their mean
    distance or, if it is smaller, from the window's standard deviation.
    """
    return Outcome(_energy(pair))


def energy_normed(pair: NumericPair) -> Outcome:
    """The energy distance divided by the square root of the reference's standard deviation: free of the unit.

    For a constant reference the share of values that differ.
    """
    if not pair.reference.std:
        return Outcome(pair.share_off_constant)
    return Outcome(min(_energy(pair) / math.sqrt(pair.reference.std), sys.float_info.max))


def _energy(pair: NumericPair) -> float:
    reference, window = pair.reference, pair.window
    n, m = pair.rows, pair.reference_rows
    gaps = (pair.before + pair.counts) / n - (pair.reference_before + pair.reference_counts) / m
    left, right = gaps[1:-2:2], gaps[2:-1:2]
    c, r = pair.counts[2:-1:2], pair.reference_counts[2:-1:2]
    mean = left + (c - window.offsets / OFFSET_ONE) / n - (r - reference.offset_array / OFFSET_ONE) / m
    # Over a step at share u from left to right the variance is u (1 - u) (right - left)**2.
    reach = np.maximum((mean - left) * (right - mean), 0.0)
    spread = np.where(c + r > 1, reach / 3 + (c / n**2 + r / m**2) / 12, reach)
    # A quarter, so that the sum stays inside float64 where the distance does.
    inner = float(((mean**2 + spread) * (reference.widths * 0.25)).sum()) / reference.shrink
    deviation = window.std()
    tails = _tail(window.below, int(pair.counts[0]), n, deviation) + _tail(
        window.above, int(pair.counts[-1]), n, deviation
    )
    return min(2 * math.sqrt(2.0) * math.sqrt(min(inner + tails, sys.float_info.max)), sys.float_info.max)


def _tail(distances: float, values: int, rows: int, deviation: float | None) -> float:
    """A quarter of the integral of G**2 beyond the outermost anchor, ``distances`` being the sum of distances to it."""
    if not values:
        return 0.0
    mean = min(distances, sys.float_info.max) / values / 4
    difference = mean if deviation is None else min(mean, _NORMAL_MEAN_DIFFERENCE * deviation / 4)
    shared = max(mean - difference * (values - 1) / (2 * values), mean / values)
    return shared * (values / rows) ** 2
