"""Tests for features of two values: Fisher's exact test and the z-test of two proportions.

The statistic of both is the difference of the shares of one of the values. A feature of which reference and window
together have more than two categories gets no number.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfc, gammaln, ndtri

from driftloop.drift.pairs import CONFIDENCE, CategoricalPair, Outcome

__all__ = ["fisher_exact", "fisher_two_sided", "z_test"]

# Cochran's rule, and from where on the normal approximation to Fisher's test is as good as exact.
_EXPECTED = 5.0
_NORMAL_EXPECTED = 1_000.0
# Tables whose probability exceeds the observed one's by rounding alone count as equally likely; scipy has the same.
_ROUNDING = 1e-7


def fisher_exact(pair: CategoricalPair) -> Outcome:
    """Fisher's exact test, two-sided: ``scipy.stats.fisher_exact``. With at least 1,000 expected rows in every cell its
    normal approximation."""
    table = _two_by_two(pair)
    if table is None:
        return Outcome(None)
    hits, rows, reference_hits, reference_rows = table
    p_value = (
        _normal(table)
        if _smallest_expected(table) >= _NORMAL_EXPECTED
        else fisher_two_sided(hits, rows, reference_hits, reference_rows)
    )
    return _outcome(table, p_value)


def z_test(pair: CategoricalPair) -> Outcome:
    """The z-test of two proportions with the pooled variance (``statsmodels`` ``proportions_ztest``).

    Where a cell expects fewer than 5 rows the p-value is Fisher's: the normal one is far too small there.
    """
    table = _two_by_two(pair)
    if table is None:
        return Outcome(None)
    exact = _smallest_expected(table) < _EXPECTED
    return _outcome(table, fisher_two_sided(*table) if exact else _normal(table))


def fisher_two_sided(hits: int, rows: int, reference_hits: int, reference_rows: int) -> float:
    """The probability of all tables with these margins that are at most as likely as the observed one."""
    total, all_hits = rows + reference_rows, hits + reference_hits
    lowest, highest = max(0, all_hits - reference_rows), min(rows, all_hits)
    if lowest == highest:
        return 1.0
    # Far beyond both the observed table and the bulk nothing adds up to a digit.
    middle = all_hits * rows / total
    reach = 60 * math.sqrt(max(middle * (1 - all_hits / total) * reference_rows / max(total - 1, 1), 1.0)) + 1_000
    first = max(lowest, math.floor(min(hits, middle) - reach))
    last = min(highest, math.ceil(max(hits, middle) + reach))
    cells = np.arange(first, last + 1, dtype=np.float64)
    # Relative to the most likely table: the constant parts of the hypergeometric probability drop out.
    logs = -(
        gammaln(cells + 1)
        + gammaln(rows - cells + 1)
        + gammaln(all_hits - cells + 1)
        + gammaln(reference_rows - all_hits + cells + 1)
    )
    logs -= logs.max()
    weights = np.exp(logs)
    return min(float(weights[logs <= logs[hits - first] + _ROUNDING].sum() / weights.sum()), 1.0)


def _two_by_two(pair: CategoricalPair) -> tuple[int, int, int, int] | None:
    """Hits and rows of the window and of the reference for the second of at most two categories."""
    reference, current = pair.bins
    filled = (reference + current) > 0
    # What the reference does not keep may be any number of categories.
    if filled.sum() > 2 or (filled[-1] and (pair.reference.other or len(pair.window.unseen_names) > 1)):
        return None
    last = int(np.flatnonzero(filled)[-1])
    return int(current[last]), pair.rows, int(reference[last]), pair.reference_rows


def _smallest_expected(table: tuple[int, int, int, int]) -> float:
    hits, rows, reference_hits, reference_rows = table
    total, all_hits = rows + reference_rows, hits + reference_hits
    return min(rows, reference_rows) * min(all_hits, total - all_hits) / total


def _normal(table: tuple[int, int, int, int]) -> float:
    hits, rows, reference_hits, reference_rows = table
    rate = (hits + reference_hits) / (rows + reference_rows)
    error = math.sqrt(rate * (1 - rate) * (1 / rows + 1 / reference_rows))
    return float(erfc(abs(hits / rows - reference_hits / reference_rows) / error / math.sqrt(2)))


def _outcome(table: tuple[int, int, int, int], p_value: float) -> Outcome:
    """With Newcombe's interval, which holds near 0 and 1 as well: R. G. Newcombe, "Interval estimation for the
    difference between independent proportions", Statistics in Medicine 17(8), 1998, method 10."""
    hits, rows, reference_hits, reference_rows = table
    own, theirs = hits / rows, reference_hits / reference_rows
    own_low, own_high = _wilson(own, rows)
    low, high = _wilson(theirs, reference_rows)
    difference = own - theirs
    lower = difference - math.hypot(own - own_low, high - theirs)
    upper = difference + math.hypot(own_high - own, theirs - low)
    return Outcome(
        abs(difference),
        p_value=p_value,
        low=0.0 if lower <= 0.0 <= upper else min(abs(lower), abs(upper)),
        high=min(max(abs(lower), abs(upper)), 1.0),
    )


def _wilson(rate: float, rows: int) -> tuple[float, float]:
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    middle = rate + z * z / (2 * rows)
    reach = z * math.sqrt(rate * (1 - rate) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return (middle - reach) / scale, (middle + reach) / scale
