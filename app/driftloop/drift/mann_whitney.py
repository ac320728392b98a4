"""The Mann-Whitney U test, from anchored counts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, ndtri

from driftloop.drift.pairs import CONFIDENCE, NumericPair, Outcome

__all__ = ["mann_whitney"]


def mann_whitney(pair: NumericPair) -> Outcome:
    """How far P(window > reference) + P(equal) / 2 is from one half, and the two-sided p-value.

    The p-value is ``scipy.stats.mannwhitneyu(method="asymptotic")``: normal, corrected for ties and continuity. The
    interval is that of E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44(3), 1988.

    Exact if all distinct reference values are anchors and no two window values between the same two anchors are equal
    (equal ones are left out of the correction for ties, which makes the p-value larger). With quantile anchors, rows in
    the same interval count as half: at most half the largest share of the reference between two anchors (1/1022 of a
    continuous one) off.
    """
    n, m = pair.rows, pair.reference_rows
    doubled = 2 * pair.reference_before + pair.reference_counts
    wins = int((pair.counts.astype(object) * doubled).sum()) if n * m >= 2**61 else int(pair.counts @ doubled)
    excess = (wins - n * m) / (2 * n * m)
    p_value = _p_value(abs(wins - n * m) / 2, pair.counts[1::2] + pair.reference_counts[1::2], n, m)
    error = _standard_error(pair)
    if not error:
        return Outcome(abs(excess), p_value=p_value, change=excess)
    reach = float(ndtri(0.5 + CONFIDENCE / 2)) * error
    low, high = max(excess - reach, -0.5), min(excess + reach, 0.5)
    return Outcome(
        abs(excess),
        p_value=p_value,
        low=0.0 if low <= 0.0 <= high else min(abs(low), abs(high)),
        high=max(abs(low), abs(high)),
        change=excess,
    )


def _p_value(distance: float, ties: NDArray[np.int64], n: int, m: int) -> float:
    """Of U that lies ``distance`` from n m / 2."""
    total = n + m
    tied = ties.astype(np.float64)
    correction = float((tied**3 - tied).sum()) / total / max(total - 1, 1)
    variance = n * m / 12 * (total + 1 - correction)
    if variance <= 0.0:
        return 1.0
    return min(float(erfc((distance - 0.5) / math.sqrt(2 * variance))), 1.0)


def _standard_error(pair: NumericPair) -> float | None:
    n, m = pair.rows, pair.reference_rows
    if n < 2 or m < 2:
        return None
    lower = (pair.reference_before + pair.reference_counts / 2) / m
    upper = (pair.before + pair.counts / 2) / n
    spread = _variance(lower, pair.counts, n) / n + _variance(upper, pair.reference_counts, m) / m
    return math.sqrt(spread)


def _variance(values: NDArray[np.float64], weights: NDArray[np.int64], rows: int) -> float:
    mean = float(weights @ values) / rows
    return float(weights @ (values - mean) ** 2) / (rows - 1)
