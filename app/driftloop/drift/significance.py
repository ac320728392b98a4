"""p-values: how likely a difference at least as large is if window and reference come from one distribution."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln, kolmogorov, logsumexp, rel_entr, smirnov

__all__ = [
    "ChiSquare",
    "PooledTable",
    "chi_square_of_table",
    "fisher_greater",
    "g_of_table",
    "ks_p_value",
    "pool_rare_categories",
]

# Up to so many rows on both sides together the null distribution of the KS statistic is computed exactly.
_EXACT_KS_ROWS = 1_000

# Cochran's rule: the chi-square approximation wants at least so many expected rows in a cell.
_EXPECTED = 5.0

# With so many expected rows in every cell the normal approximation to Fisher's test is as good as exact.
_NORMAL_EXPECTED = 1_000.0


def ks_p_value(statistic: float, reference_rows: int, rows: int) -> float:
    """The p-value of a two-sided two-sample Kolmogorov-Smirnov statistic.

    Exact for up to 1,000 rows on both sides together, by following all lattice paths (J. L. Hodges, "The significance
    probability of the Smirnov two-sample test", Arkiv för Matematik 3, 1958), beyond that from the one-sample
    distribution at the effective size n m / (n + m) like ``scipy.stats.ks_2samp(method="asymp")``, to within a
    thousandth of 1 where it is above 0.025 and to within a hundredth of itself from there down to 1e-12. Ties make
    either conservative.
    """
    if reference_rows < 1 or rows < 1:
        raise ValueError(f"a KS test needs rows on both sides, got {reference_rows} and {rows}")
    if statistic <= 0.0:
        return 1.0
    if reference_rows + rows <= _EXACT_KS_ROWS:
        return _exact_ks(round(statistic * reference_rows * rows), reference_rows, rows)
    effective = round(reference_rows * rows / (reference_rows + rows))
    return _probability(_one_sample_ks(statistic, max(effective, 1)))


def _one_sample_ks(statistic: float, rows: int) -> float:
    """P(D >= statistic) of the one-sample test; scipy's exact evaluation takes tens of milliseconds for large samples.

    J. Vrbik, "Small-sample corrections to Kolmogorov-Smirnov test statistic", Pioneer Journal of Theoretical and
    Applied Statistics 15, 2018; N. V. Smirnov's expansion of the one-sided tail to the order 1/n (1944).
    """
    root = math.sqrt(rows)
    z = statistic * root
    # Far enough out the function is hardly ever exceeded on both sides at once: twice the one-sided tail.
    if rows <= _EXACT_KS_ROWS and z * z >= 1.2:
        return 2 * float(smirnov(rows, statistic))
    if z * z < 2.2:
        return float(kolmogorov(z + 1 / (6 * root) + (z - 1) / (4 * rows)))
    return 2 * math.exp(-2 * (z + 1 / (6 * root)) ** 2 - 4 * (z**4 - z**2) / (9 * rows) + 1 / (18 * rows))


def _exact_ks(bound: int, first: int, second: int) -> float:
    """P(max |i * second - j * first| >= bound) for a random order of ``first`` and ``second`` values.

    Walks all orders at once, one value after the other: ``inside[i]`` is the probability that i values of the first
    sample have come and the bound was never reached. Only what leaves is summed, so small results keep their digits.
    """
    width = min(first, second)
    length = max(first, second)
    inside = np.zeros(width + 2)
    inside[0] = 1.0
    i = np.arange(width + 2)
    outside = 0.0
    for step in range(first + second):
        left = first + second - step
        j = step - i
        take_i = inside * ((width - i) / left)
        stay = inside * ((length - j) / left)
        inside = stay
        inside[1:] += take_i[:-1]
        reached = np.abs(i * length - (j + 1) * width) >= bound
        outside += float(inside[reached].sum())
        inside[reached] = 0.0
    return _probability(outside)


class ChiSquare(NamedTuple):
    """A chi-square test: statistic, degrees of freedom, p-value and how many categories were pooled into one."""

    statistic: float
    degrees_of_freedom: int
    p_value: float
    pooled: int


class PooledTable(NamedTuple):
    """Counts of shape (2, k) of reference and window, and how many categories were pooled into the first column."""

    table: NDArray[np.float64]
    pooled: int

    @property
    def expected(self) -> NDArray[np.float64]:
        """What the table would hold if both rows had the same shares."""
        rows = self.table.sum(axis=1)
        return np.outer(rows, self.table.sum(axis=0) / rows.sum())


def pool_rare_categories(
    reference: NDArray[np.int64], current: NDArray[np.int64], *, pool_last: bool = False
) -> PooledTable:
    """Both counts, of shape (k,), as a table without empty columns; categories that expect fewer than 5 rows on either
    side are pooled, rarest first, until the pool expects 5.

    ``pool_last``: the last one belongs to the pool however many rows it has. It is for categories that the reference
    has not: chosen because the reference has none of them, they would look like drift without any.
    """
    reference_rows, rows = int(reference.sum()), int(current.sum())
    table = np.vstack([reference, current]).astype(np.float64)
    smaller_share = min(reference_rows, rows) / (reference_rows + rows)
    expected = table.sum(axis=0) * smaller_share
    always = np.zeros(expected.size, dtype=bool)
    always[-1] = pool_last
    order = np.lexsort((expected, ~always))
    order = order[expected[order] > 0]
    table, expected = table[:, order], expected[order]
    rare = int(np.count_nonzero((expected < _EXPECTED) | always[order]))
    if rare:
        # The rare ones together may still be rare: then the next category joins them.
        while rare < expected.size and expected[:rare].sum() < _EXPECTED:
            rare += 1
        table = np.column_stack([table[:, :rare].sum(axis=1), table[:, rare:]])
    return PooledTable(table, rare)


def chi_square_of_table(pooled: PooledTable) -> ChiSquare:
    """Pearson's test of homogeneity on a pooled table.

    Both rows are samples; taking the reference for the truth (a goodness-of-fit test) alarms more and more often as
    windows grow. No continuity correction: ``scipy.stats.chi2_contingency(pooled.table, correction=False)``. With fewer
    than two columns the p-value is 1.
    """
    table, rare = pooled
    if table.shape[1] < 2:
        return ChiSquare(0.0, 0, 1.0, rare)
    expected = pooled.expected
    statistic = float(((table - expected) ** 2 / expected).sum())
    degrees = table.shape[1] - 1
    return ChiSquare(statistic, degrees, _probability(float(chdtrc(degrees, statistic))), rare)


def g_of_table(pooled: PooledTable) -> ChiSquare:
    """The likelihood-ratio test on a pooled table: G = 2 sum O ln(O / E).

    The statistic is ``scipy.stats.chi2_contingency(correction=False, lambda_="log-likelihood")``. The p-value is that
    of G divided by Williams' q, since plain G alarms too often in small tables: D. A. Williams, "Improved likelihood
    ratio tests for complete contingency tables", Biometrika 63(1), 1976.
    """
    table, rare = pooled
    if table.shape[1] < 2:
        return ChiSquare(0.0, 0, 1.0, rare)
    statistic = max(2 * float(rel_entr(table, pooled.expected).sum()), 0.0)
    degrees = table.shape[1] - 1
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    q = 1 + (float((total / rows).sum()) - 1) * (float((total / columns).sum()) - 1) / (6 * total * degrees)
    return ChiSquare(statistic, degrees, _probability(float(chdtrc(degrees, statistic / q))), rare)


def fisher_greater(hits: int, rows: int, reference_hits: int, reference_rows: int) -> float:
    """One-sided p-value that the rate ``hits / rows`` is greater than the reference's.

    Fisher's exact test (``scipy.stats.fisher_exact(alternative="greater")``): the z-test's p-values are far too small
    for the few hits that matter here. With at least 1,000 expected rows in every cell the normal approximation.
    """
    total, all_hits = rows + reference_rows, hits + reference_hits
    if not hits or not rows or not reference_rows:
        return 1.0
    if min(rows, reference_rows) * min(all_hits, total - all_hits) / total >= _NORMAL_EXPECTED:
        rate = all_hits / total
        error = math.sqrt(rate * (1 - rate) * (1 / rows + 1 / reference_rows))
        return 0.5 * math.erfc((hits / rows - reference_hits / reference_rows) / error / math.sqrt(2))
    tail = np.arange(hits, min(rows, all_hits) + 1)
    logs = _log_choose(rows, tail) + _log_choose(reference_rows, all_hits - tail)
    return _probability(math.exp(float(logsumexp(logs)) - float(_log_choose(total, np.array(all_hits)))))


def _log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return logs


def _probability(value: float) -> float:
    return min(max(value, 0.0), 1.0)
