"""Whether two features go together otherwise than in the reference: change of rank correlations of all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

from driftloop.multivariate.encoding import Matrix
from driftloop.multivariate.outcome import Effect

__all__ = ["correlation_change", "rank_correlations"]

_MINIMUM_ROWS = 10


def correlation_change(reference: Matrix, window: Matrix, names: list[str]) -> Effect:
    """The change of the correlation of the pair for which it is most significant, in [0, 2], with that pair's p-value
    times the number of pairs (Bonferroni).

    Both shapes (rows, features), NaN for missing. Spearman's correlations are compared after Fisher's transformation
    z = artanh(r), with the variance (1 + r**2 / 2) / (n - 3) of each: D. G. Bonett, T. A. Wright, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65, 2000. Pairs with a
    constant feature, or fewer than ten rows on either side, are left out; without any pair the effect is None.
    """
    before, rows_before = rank_correlations(reference)
    now, rows_now = rank_correlations(window)
    pairs = np.triu_indices(len(names), 1)
    r, s = before[pairs], now[pairs]
    m, n = rows_before[pairs], rows_now[pairs]
    usable = ~np.isnan(r) & ~np.isnan(s) & (m >= _MINIMUM_ROWS) & (n >= _MINIMUM_ROWS)
    if not usable.any():
        return Effect(None, None)
    firsts, seconds = pairs[0][usable], pairs[1][usable]
    r, s, m, n = r[usable], s[usable], m[usable], n[usable]
    # Ranks of n rows tell no correlation from 1 that is closer than this.
    change = np.arctanh(_inside(r, m)) - np.arctanh(_inside(s, n))
    z = np.abs(change) / np.sqrt((1 + r**2 / 2) / (m - 3) + (1 + s**2 / 2) / (n - 3))
    at = int(z.argmax())
    p_value = min(2.0 * float(ndtr(-z[at])) * z.size, 1.0)
    first, second = names[int(firsts[at])], names[int(seconds[at])]
    detail = f"{first} and {second}: {s[at]:.2f} against {r[at]:.2f}"
    return Effect(abs(float(s[at] - r[at])), p_value, detail)


def rank_correlations(rows: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """Spearman's correlations (features, features), NaN where undefined, and the rows that each pair has in common.

    Values are ranked by feature among all its values; with missing ones, a pair's correlation is that of these ranks in
    the rows that both have.
    """
    known = ~np.isnan(rows)
    ranks = np.zeros(rows.shape)
    for column in range(rows.shape[1]):
        present = known[:, column]
        if present.any():
            ranks[present, column] = rankdata(rows[present, column])
            ranks[present, column] -= ranks[present, column].mean()  # keeps the products small
    seen = known.astype(np.float64)
    count = seen.T @ seen
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (ranks.T @ seen) / count  # of the row's feature, in the rows that both have
        variance = ((ranks**2).T @ seen) / count - mean**2
        covariance = (ranks.T @ ranks) / count - mean * mean.T
        variance[variance < 1e-9] = np.nan
        correlation = covariance / np.sqrt(variance * variance.T)
    return np.clip(correlation, -1.0, 1.0), count.astype(np.int64)


def _inside(correlation: Matrix, rows: NDArray[np.int64]) -> Matrix:
    limit = 1.0 - 1.0 / rows
    return np.clip(correlation, -limit, limit)
