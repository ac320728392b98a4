"""The two-sample Anderson-Darling test, from anchored counts.

F. W. Scholz, M. A. Stephens, "K-sample Anderson-Darling tests", Journal of the American Statistical Association
82(399), 1987: equation 7 (midranks), k = 2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, zeta

from driftloop.drift.pairs import NumericPair, Outcome
from driftloop.drift.quadratic_tail import anderson_darling_tail, quadratic_form_tail

__all__ = ["anderson_darling"]

# A value that holds more than this share of the pooled rows changes the null distribution.
_HEAVY_TIE = 0.01
_GROUPS = 64
_LIMIT_DEVIATION = math.sqrt(2 * math.pi**2 / 3 - 6)  # of the limit sum Z_k**2 / (k (k + 1)), whose mean is 1
_ASYMPTOTIC_FROM = 20.0

Floats = NDArray[np.float64]


def anderson_darling(pair: NumericPair) -> Outcome:
    """The standardised statistic as ``scipy.stats.anderson_ksamp(variant="midrank")``, and its p-value.

    The statistic is exact if all distinct reference values are anchors and no two window values between the same two
    anchors are equal; equal ones count as if they were neighbours. With quantile anchors it is the mean over all orders
    that the rows within an interval may have; the order matters for the share of reference rows in an interval, 1/511
    of a continuous one.

    The p-value maps the standardised statistic to the limit distribution, as Scholz and Stephens do, and is not cut off
    at 0.001 and 0.25 as scipy's. That holds without ties. Where one value has more than a hundredth of the pooled rows,
    the limit given the ties is used instead: there A**2 is a weighted sum of squared normals, for a two-valued feature
    Pearson's chi-square, and the other limit alarms far too often.
    """
    first, second = pair.rows, pair.reference_rows
    total = first + second
    pooled = pair.counts + pair.reference_counts
    if total < 4:
        return Outcome(None)
    ties = int(pooled[1::2].max(initial=0))
    if ties == total:
        return Outcome(0.0, p_value=1.0)
    raw = (total - 1) / (first * second * total) * (_at_anchors(pair) + _between_anchors(pair))
    standardised = (raw - 1) / _deviation(first, second)
    if ties <= _HEAVY_TIE * total:
        p_value = anderson_darling_tail(1 + standardised * _LIMIT_DEVIATION)
    else:
        p_value = quadratic_form_tail(raw, _coefficients(pooled / total))
    return Outcome(standardised, p_value=p_value)


def _at_anchors(pair: NumericPair) -> float:
    r, c = pair.reference_counts[1::2], pair.counts[1::2]
    filled = (r + c) > 0
    r, c = r[filled], c[filled]
    before, window_before = pair.reference_before[1::2][filled], pair.before[1::2][filled]
    total = pair.rows + pair.reference_rows
    tied = (r + c).astype(np.float64)
    # Integers until here: the two products nearly cancel.
    doubled = pair.reference_rows * (2 * window_before + c) - pair.rows * (2 * before + r)
    rank = before + window_before + tied / 2
    return float((tied * (doubled / 2) ** 2 / (rank * (total - rank) - total * tied / 4)).sum())


def _between_anchors(pair: NumericPair) -> float:
    """The terms of the values in open intervals, one each, in closed form.

    In pooled order from s = 1/2 to t - 1/2 the expected square of the difference is a quadratic polynomial q(s): of the
    mean course, plus N**2 times the variance of hypergeometric counts where rows of both sides are there. Divided by
    the weight (y - u)(v - y), y = rows before + s, it has partial fractions, whose sums are differences of digamma.
    """
    r, c = pair.reference_counts[0::2], pair.counts[0::2]
    filled = (r + c) > 0
    if not filled.any():
        return 0.0
    r, c = r[filled], c[filled]
    before, window_before = pair.reference_before[0::2][filled], pair.before[0::2][filled]
    first, second = pair.rows, pair.reference_rows
    total = first + second
    t = (r + c).astype(np.float64)
    start = (second * window_before - first * before).astype(np.float64)
    slope = (second * c - first * r) / t
    wobble = float(total) ** 2 * c.astype(np.float64) * r / (t * t * np.maximum(t - 1, 1))
    rows_before = (before + window_before).astype(np.float64)
    rows_after = total - rows_before - t
    width = math.sqrt(total) * math.sqrt(total - 1)
    u = total / (2 * (total + width))

    def expected(s: Floats) -> Floats:
        return (start + slope * s) ** 2 + wobble * (s * (t - s) - t / 4)

    low = expected(u - rows_before) * _reciprocal_sum(rows_before + 0.5 - u, t)
    high = expected(total - u - rows_before) * _reciprocal_sum(rows_after + 0.5 - u, t)
    return float(((low + high) / width - (slope**2 - wobble) * t).sum())


def _reciprocal_sum(start: Floats, terms: Floats) -> Floats:
    """1 / start + 1 / (start + 1) + ... of so many terms: digamma(start + terms) - digamma(start) without
    cancelling."""
    end = start + terms
    large = np.log1p(terms / start) + terms / (2 * start * end)
    for power, factor in ((2, 1 / 12), (4, -1 / 120), (6, 1 / 252), (8, -1 / 240)):
        large += factor * (start ** -float(power) - end ** -float(power))
    result: Floats = np.where(start < _ASYMPTOTIC_FROM, digamma(end) - digamma(start), large)
    return result


def _deviation(first: int, second: int) -> float:
    """sigma_N of Scholz and Stephens, equation 4, with the sums h and g in closed form."""
    total = float(first + second)
    h = float(digamma(total)) + np.euler_gamma
    g = math.pi**2 / 6 - float(zeta(2, total)) - 2 * h / total
    inverse = 1 / first + 1 / second
    a = 4 * g - 6 + (10 - 6 * g) * inverse
    b = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    numerator = a + b / total + c / total**2 + d / total**3
    return math.sqrt(numerator / ((1 - 1 / total) * (1 - 2 / total) * (1 - 3 / total)))


def _coefficients(shares: Floats) -> Floats:
    """Coefficients of the limit given pooled shares by position, shape (p,), which sum to 1.

    With atoms p at midranks b, A**2 tends to a sum over atoms of p G**2, G normal of variance 1 and correlation
    b_i (1 - b_j) / sqrt(s_i s_j) for i < j, s = b (1 - b) - p / 4. Light neighbours are taken for one atom of at most
    1/64, which makes the largest coefficient, and with it p-values, a little larger.
    """
    shares = shares[shares > 0]
    cells = np.floor((np.cumsum(shares) - shares) * _GROUPS)
    heavy = shares * _GROUPS >= 1
    starts = np.flatnonzero(np.diff(cells, prepend=-1.0).astype(bool) | heavy | np.append(False, heavy[:-1]))
    p = np.add.reduceat(shares, starts)
    b = np.clip(np.cumsum(p) - p / 2, 0.0, 1.0)
    variances = b * (1 - b) - p / 4
    covariances = np.minimum.outer(b, b) * (1 - np.maximum.outer(b, b))
    np.fill_diagonal(covariances, variances)
    scale = np.sqrt(p / variances)
    coefficients: Floats = np.linalg.eigvalsh(covariances * np.outer(scale, scale))
    return coefficients
