"""The two-sample Cramér-von Mises test, from anchored counts.

T. W. Anderson, "On the distribution of the two-sample Cramér-von Mises criterion", Annals of Mathematical Statistics
33(3), 1962: T = n m / N**2 times the sum of (F - G)**2 over the pooled values, N = n + m.
"""

from __future__ import annotations

import math

import numpy as np

from driftloop.drift.pairs import NumericPair, Outcome
from driftloop.drift.quadratic_tail import cramer_von_mises_tail

__all__ = ["cramer_von_mises"]

_SMALLEST = 0.003


def cramer_von_mises(pair: NumericPair) -> Outcome:
    """Statistic and asymptotic p-value as ``scipy.stats.cramervonmises_2samp(method="asymptotic")`` has them without
    ties.

    The statistic is exact, to the one division at the end, if all distinct reference values are anchors and no value is
    there twice. Where rows share an anchor or an interval, it is the mean of T over all orders that they may have: that
    varies less than T itself, so that p-values are conservative. (With midranks, which scipy uses, T is inflated by
    ties if the samples differ in size: two-valued samples of one distribution get p < 1e-7.) Small p-values keep their
    digits; scipy's end between 1e-10 and 1e-8.
    """
    n, m = pair.rows, pair.reference_rows
    if n < 2 or m < 2:
        return Outcome(None)
    statistic = _numerator(pair) / (12 * n * m * (n + m))
    return Outcome(statistic, p_value=_p_value(statistic, n, m))


def _numerator(pair: NumericPair) -> int:
    """12 n m (n + m) T as an integer: n sum (rank - i)**2 + m sum (rank - j)**2, less its value for equal courses.

    A window value's rank among all less its rank i in the window is the number of reference rows before it. Of r rows
    of the reference at the same position 0 to r may be before it, each with the same probability.
    """
    n, m = pair.rows, pair.reference_rows
    # Either sum is at most 16 n m max(n, m): Python's integers where int64 would overflow.
    kind = np.int64 if 16 * n * m * max(n, m) < 2**62 else object
    r, c = pair.reference_counts.astype(kind), pair.counts.astype(kind)
    before, window_before = pair.reference_before.astype(kind), pair.before.astype(kind)
    of_window = (c * (12 * before * (before + r) + 2 * r * (2 * r + 1))).sum()
    of_reference = (r * (12 * window_before * (window_before + c) + 2 * c * (2 * c + 1))).sum()
    return n * int(of_window) + m * int(of_reference) - 2 * n * m * (4 * n * m - 1)


def _p_value(statistic: float, n: int, m: int) -> float:
    """From the limit, after the statistic is given the limit's mean and variance."""
    total, product = n + m, n * m
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * product * total - 3 * (n * n + m * m) - 2 * product) / (180 * total**2 * product)
    adjusted = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance)
    return 1.0 if adjusted < _SMALLEST else cramer_von_mises_tail(adjusted)
