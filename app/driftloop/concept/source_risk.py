"""An upper confidence bound of the risk on the reference data, for losses in [0, 1]."""

from __future__ import annotations

import math

__all__ = ["upper_risk"]

_STEPS = 60


def upper_risk(mean: float, variance: float | None, rows: int, alpha: float) -> float:
    """A number that the true risk exceeds with probability ``alpha`` at most, given ``rows`` independent losses.

    The smaller of two bounds, each at half of ``alpha``: Chernoff's, the largest U with rows * kl(mean, U) <= ln(1 /
    alpha), which is best for zeros and ones; and the empirical Bernstein bound mean + sqrt(2 v ln(2 / alpha) / n) +
    7 ln(2 / alpha) / (3 (n - 1)) with the sample ``variance`` v, better for losses that vary less. Without a variance
    Chernoff's alone, at the whole of ``alpha``. 1.0 without rows.

    References: H. Chernoff, Ann. Math. Statist. 23, 1952, with W. Hoeffding, JASA 58, 1963; A. Maurer, M. Pontil,
    "Empirical Bernstein bounds and sample variance penalization", COLT 2009 (theorem 4).

    >>> round(upper_risk(0.1, None, 1000, 0.05), 4)
    0.1248
    """
    if rows < 1:
        return 1.0
    mean = min(1.0, max(0.0, mean))
    if variance is None or rows < 2:
        return _chernoff(mean, rows, alpha)
    log_term = math.log(4.0 / alpha)
    bernstein = mean + math.sqrt(2.0 * variance * log_term / rows) + 7.0 * log_term / (3.0 * (rows - 1))
    return min(1.0, bernstein, _chernoff(mean, rows, alpha / 2.0))


def _chernoff(mean: float, rows: int, alpha: float) -> float:
    budget = math.log(1.0 / alpha) / rows
    low, high = mean, 1.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if _kl(mean, middle) <= budget:
            low = middle
        else:
            high = middle
    return high


def _kl(p: float, q: float) -> float:
    if not 0.0 < q < 1.0:
        return 0.0 if p == q else math.inf
    first = p * math.log(p / q) if p > 0.0 else 0.0
    second = (1.0 - p) * math.log((1.0 - p) / (1.0 - q)) if p < 1.0 else 0.0
    return first + second
