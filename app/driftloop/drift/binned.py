"""Distances of two discrete distributions: categories, or deciles of a numeric reference.

Arrays are counts of shape (bins,). All are None when either side has no rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from driftloop.drift.distances import jensen_shannon, psi, smoothed_shares
from driftloop.drift.pairs import CategoricalPair, NumericPair, Outcome

__all__ = [
    "hellinger",
    "hellinger_of",
    "jensen_shannon_of",
    "kullback_leibler",
    "kullback_leibler_of",
    "l_infinity",
    "l_infinity_of",
    "psi_of",
    "total_variation",
    "total_variation_of",
]

Counts = NDArray[np.int64]
Pair = NumericPair | CategoricalPair


def kullback_leibler(reference: Counts, current: Counts) -> float | None:
    """The Kullback-Leibler divergence of the window from the reference, sum q ln(q / p), in nats.

    Smoothed as :func:`driftloop.drift.distances.psi`, so that PSI is the sum of both directions to the last digits.

    >>> 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    0.3680642071684971
    >>> round(kullback_leibler(np.array([500_000, 500_000]), np.array([900_000, 100_000])), 4)
    0.3681
    """
    shares = smoothed_shares(reference, current)
    if shares is None:
        return None
    p, q = shares
    return max(float((q * np.log(q / p)).sum()), 0.0)


def hellinger(reference: Counts, current: Counts) -> float | None:
    """The Hellinger distance, sqrt(1 - sum sqrt(p q)), in [0, 1]. No smoothing is needed.

    Computed as the norm of sqrt(p) - sqrt(q) over sqrt(2), which does not cancel for close distributions.

    >>> hellinger(np.array([1, 0]), np.array([0, 1]))
    1.0
    """
    shares = _shares(reference, current)
    if shares is None:
        return None
    p, q = shares
    return min(float(np.linalg.norm(np.sqrt(p) - np.sqrt(q))) / math.sqrt(2), 1.0)


def total_variation(reference: Counts, current: Counts) -> float | None:
    """Half the sum of |p - q|: the share of rows that would have to change their bin, in [0, 1].

    >>> total_variation(np.array([3, 1]), np.array([1, 3]))
    0.5
    """
    shares = _shares(reference, current)
    return None if shares is None else min(float(np.abs(shares[0] - shares[1]).sum()) / 2, 1.0)


def l_infinity(reference: Counts, current: Counts) -> float | None:
    """The largest |p - q| over the bins, in [0, 1].

    >>> l_infinity(np.array([2, 1, 1]), np.array([1, 1, 2]))
    0.25
    """
    shares = _shares(reference, current)
    return None if shares is None else float(np.abs(shares[0] - shares[1]).max())


def _shares(reference: Counts, current: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    reference_rows, rows = int(reference.sum()), int(current.sum())
    return (reference / reference_rows, current / rows) if reference_rows and rows else None


def psi_of(pair: Pair) -> Outcome:
    return Outcome(psi(*pair.bins))


def jensen_shannon_of(pair: Pair) -> Outcome:
    return Outcome(jensen_shannon(*pair.bins))


def kullback_leibler_of(pair: Pair) -> Outcome:
    return Outcome(kullback_leibler(*pair.bins))


def hellinger_of(pair: Pair) -> Outcome:
    return Outcome(hellinger(*pair.bins))


def total_variation_of(pair: Pair) -> Outcome:
    return Outcome(total_variation(*pair.bins))


def l_infinity_of(pair: CategoricalPair) -> Outcome:
    """Unseen categories count as one, so many of them at once are not overlooked; NannyML looks at each alone."""
    return Outcome(l_infinity(*pair.bins))
