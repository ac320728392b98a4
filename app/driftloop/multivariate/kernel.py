"""Kernel two-sample tests: maximum mean discrepancy, and the shift of the centroid as its linear special case.

A. Gretton et al., "A kernel two-sample test", Journal of Machine Learning Research 13, 2012: the unbiased statistic,
formula (3). The null distribution is that of random assignments of the rows to the two sides; its tail is that of the
Pearson type III distribution with the mean, deviation and skewness of the sampled assignments (C. Minas, G. Montana,
"Distance-based analysis of variance: approximate inference", Statistical Analysis and Data Mining 7, 2014), so that
p-values below one over the number of assignments can be told.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammainc, gammaincc, ndtr

from driftloop.multivariate.encoding import Matrix
from driftloop.multivariate.outcome import Effect, one_thread

__all__ = [
    "ASSIGNMENTS",
    "MAX_SIDE_ROWS",
    "centroid_shift",
    "gaussian_kernel",
    "mmd",
    "pearson_iii_upper",
    "unbiased_mmd2",
]

#: Rows of either side that are used; the time grows with their square.
MAX_SIDE_ROWS = 1_000
ASSIGNMENTS = 500
_BLOCK = 100


def mmd(rows: Matrix, reference_rows: int, *, seed: int = 0) -> Effect:
    """The root of the squared maximum mean discrepancy (0 where that is negative), in [0, sqrt(2)), with the Gaussian
    kernel whose bandwidth is the median distance. ``rows`` (m + n, d): the first ``reference_rows`` are the
    reference's."""
    rows, reference_rows = _bounded(rows, reference_rows)
    if min(reference_rows, rows.shape[0] - reference_rows) < 2:
        return Effect(None, None)
    with one_thread():
        squared, p_value = _test(gaussian_kernel(rows), reference_rows, seed)
    return Effect(math.sqrt(max(squared, 0.0)), p_value)


def centroid_shift(rows: Matrix, reference_rows: int, *, seed: int = 0) -> Effect:
    """The distance of the two centroids in units of the reference's root mean squared distance to its own centroid.

    The squared distance is estimated without the bias that two finite samples bring: S. X. Chen, Y.-L. Qin, "A
    two-sample test for high-dimensional data with applications to gene-set testing", Annals of Statistics 38, 2010.
    """
    rows, reference_rows = _bounded(rows, reference_rows)
    if min(reference_rows, rows.shape[0] - reference_rows) < 2:
        return Effect(None, None)
    # Values near the limits of float64 must not overflow when they are squared.
    largest = float(np.abs(rows).max(initial=0.0))
    scaled = rows / largest if largest > 0.0 else rows
    reference = scaled[:reference_rows]
    with one_thread():
        centre = reference.mean(axis=0)
        spread = float(((reference - centre) ** 2).sum()) / (reference_rows - 1)
        centred = scaled - centre
        squared, p_value = _test(centred @ centred.T, reference_rows, seed)
    shift = math.sqrt(max(squared, 0.0))
    if spread > 0.0:
        return Effect(shift / math.sqrt(spread), p_value)
    # A constant reference has no unit: any other centroid is as far as can be.
    return Effect(0.0 if shift == 0.0 else float(np.finfo(np.float64).max), p_value)


def gaussian_kernel(rows: Matrix) -> Matrix:
    """exp(-d**2 / (2 s**2)) of all pairs, shape (N, N), s being the median distance of two rows (1 if that is 0)."""
    norms = np.einsum("ij,ij->i", rows, rows)
    squared = norms[:, None] + norms[None, :] - 2.0 * (rows @ rows.T)
    np.maximum(squared, 0.0, out=squared)
    above = squared[np.triu_indices(squared.shape[0], 1)]
    median = float(np.median(above)) if above.size else 0.0
    kernel: Matrix = np.exp(squared / (-2.0 * median if median > 0.0 else -2.0))
    return kernel


def unbiased_mmd2(kernel: Matrix, reference_rows: int) -> float:
    """The unbiased squared discrepancy of the first ``reference_rows`` rows and the others; may be negative."""
    window = (np.arange(kernel.shape[0]) >= reference_rows).astype(np.float64)
    hollow = kernel - np.diag(np.diag(kernel))
    return float(_statistics(hollow, hollow.sum(axis=1), window[:, None])[0])


def _test(kernel: Matrix, reference_rows: int, seed: int) -> tuple[float, float]:
    count = kernel.shape[0]
    hollow = kernel.copy()
    np.fill_diagonal(hollow, 0.0)
    sums = hollow.sum(axis=1)
    window = (np.arange(count) >= reference_rows).astype(np.float64)
    found = float(_statistics(hollow, sums, window[:, None])[0])
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(ASSIGNMENTS // _BLOCK):
        assigned = np.column_stack([rng.permutation(window) for _ in range(_BLOCK)])
        drawn.append(_statistics(hollow, sums, assigned))
    null = np.concatenate(drawn)
    deviation = float(null.std(ddof=1))
    if deviation <= 1e-12 * max(float(np.abs(hollow).max()), 1e-300):
        return 0.0, 1.0
    standard = (null - null.mean()) / deviation
    return found, pearson_iii_upper((found - float(null.mean())) / deviation, float((standard**3).mean()))


def _statistics(hollow: Matrix, sums: Matrix, assigned: Matrix) -> Matrix:
    """Squared discrepancies for each column of ``assigned`` (N, b), 1 for a row of the window. ``hollow`` is the kernel
    without its diagonal, ``sums`` its row sums."""
    count = hollow.shape[0]
    n = float(assigned[:, 0].sum())
    m = count - n
    within = np.einsum("ij,ij->j", assigned, hollow @ assigned)
    touching = sums @ assigned
    outside = float(sums.sum()) - 2.0 * touching + within
    across = touching - within
    squared: Matrix = within / (n * (n - 1)) + outside / (m * (m - 1)) - 2.0 * across / (n * m)
    return squared


def pearson_iii_upper(standardised: float, skewness: float) -> float:
    """Upper tail of the Pearson type III distribution with mean 0, deviation 1 and this skewness.

    >>> round(pearson_iii_upper(1.6448536, 0.0), 6)
    0.05
    """
    if abs(skewness) < 1e-4:
        return float(ndtr(-standardised))
    shape = 4.0 / skewness**2
    at = shape + math.copysign(math.sqrt(shape), skewness) * standardised
    if at <= 0.0:
        return 1.0 if skewness > 0 else 0.0
    return float(gammaincc(shape, at) if skewness > 0 else gammainc(shape, at))


def _bounded(rows: Matrix, reference_rows: int) -> tuple[Matrix, int]:
    reference, window = rows[:reference_rows][:MAX_SIDE_ROWS], rows[reference_rows:][:MAX_SIDE_ROWS]
    return np.concatenate([reference, window]), reference.shape[0]
