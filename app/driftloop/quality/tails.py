"""p-values of the data-quality checks: small exact tails, each for one question."""

from __future__ import annotations

import math

from scipy.special import betainc, gammaln, stdtr

__all__ = [
    "all_hits",
    "binomial_at_least",
    "negative_binomial_at_least",
    "negative_binomial_at_most",
    "no_hits",
    "student_above",
]


def binomial_at_least(hits: int, rows: int, rate: float) -> float:
    """P(X >= hits) for X ~ Binomial(rows, rate): the one-sided exact test of a share against a tolerated one.

    With a tolerated rate of 0 any hit gives 0.
    """
    if hits <= 0:
        return 1.0
    if rate <= 0.0:
        return 0.0
    return 1.0 if rate >= 1.0 else float(betainc(hits, rows - hits + 1, rate))


def all_hits(rows: int, reference_hits: int, reference_rows: int) -> float:
    """Fisher's one-sided p-value where all ``rows`` of the window are hits: C(h + n, n) / C(m + n, n), h hits of the m
    rows of the reference."""
    if not rows or not reference_rows:
        return 1.0
    return _ratio(reference_hits + rows, reference_hits, reference_rows + rows, reference_rows)


def no_hits(rows: int, reference_hits: int, reference_rows: int) -> float:
    """Fisher's one-sided p-value where none of ``rows`` rows is a hit: C(m, h) / C(m + n, h), with h hits of the m rows
    of the reference: the chance that all h hits fall to the reference's side."""
    if not rows or not reference_rows:
        return 1.0
    return _ratio(
        reference_rows, reference_rows - reference_hits, reference_rows + rows, reference_rows + rows - reference_hits
    )


def _ratio(a: int, b: int, c: int, d: int) -> float:
    """(a! / b!) / (c! / d!)."""
    return min(1.0, math.exp(float(gammaln(a + 1) - gammaln(b + 1) - gammaln(c + 1) + gammaln(d + 1))))


def negative_binomial_at_most(count: int, mean: float, dispersion: float) -> float:
    """P(X <= count), X negative binomial with variance ``mean + dispersion * mean**2`` (NB2: A. C. Cameron,
    P. K. Trivedi, "Regression analysis of count data", 2013, 3.3). ``scipy.stats.nbinom(1 / dispersion,
    1 / (1 + dispersion * mean)).cdf(count)``."""
    if count < 0:
        return 0.0
    size = 1.0 / dispersion
    return float(betainc(size, count + 1.0, size / (size + mean))) if mean > 0.0 else 1.0


def negative_binomial_at_least(count: int, mean: float, dispersion: float) -> float:
    """P(X >= count), as :func:`negative_binomial_at_most`."""
    if count <= 0:
        return 1.0
    size = 1.0 / dispersion
    return float(betainc(float(count), size, mean / (size + mean))) if mean > 0.0 else 0.0


def student_above(score: float, degrees_of_freedom: int) -> float:
    """P(T >= score) of Student's t."""
    return float(stdtr(degrees_of_freedom, -score))
