"""What a statistic is worth by chance alone: its distribution if window and reference are draws of the same.

A parametric bootstrap: both sides are drawn from the reference's counts, at the sizes of the window and the reference,
and the statistic is taken of each pair. Ranks among the draws give a Monte Carlo test that keeps its level at any
number of draws (A. C. A. Hope, "A simplified Monte Carlo significance test procedure", Journal of the Royal Statistical
Society B 30, 1968; A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2).

Draws are made for windows of 2^k rows; between two of those, bounds are interpolated. They are seeded by model,
feature, method and sizes: live and replay find the same thresholds. ``RandomState``, because NumPy promises that its
stream stays the same (NEP 19).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.drift.statistic import statistic_of
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.counted import CountedReference
from driftloop.profiles.numeric import NumericSummary
from driftloop.profiles.resampling import CategoricalDraws, NumericDraws

__all__ = ["MOST_DRAWS", "NullDistribution", "draws_for", "null_distribution"]

_FEWEST_DRAWS = 199
MOST_DRAWS = 1_999

Draws = NDArray[np.float64]


class NullDistribution(msgspec.Struct, frozen=True):
    """A statistic under no change at ``rows`` rows: draws at ``below`` rows and at twice as many, both in rising order,
    shape (draws,). ``below`` equals ``rows`` or is the next power of two down."""

    rows: int
    below: int
    lower: Draws
    upper: Draws

    def bound(self, false_alarms: float) -> float:
        """The value that an unchanged window reaches with probability ``false_alarms`` at most (about, between powers
        of two)."""

        def of(draws: Draws) -> float:
            rank = max(math.floor(false_alarms * (draws.size + 1)), 1)
            # Reaching the next float above the rank-th largest means that fewer than ``rank`` draws are as large.
            return float(np.nextafter(draws[-rank], math.inf))

        return self._between(of)

    def spread(self, deviations: float) -> float:
        """Mean plus so many standard deviations (divisor n)."""
        return self._between(lambda draws: float(draws.mean() + deviations * draws.std()))

    def _between(self, of: Callable[[Draws], float]) -> float:
        """Linear in 1 / sqrt(rows), as distances shrink; those that shrink faster come out a little too large."""
        lower, upper = of(self.lower), of(self.upper)
        if self.rows == self.below:
            return lower
        start, end = 1 / math.sqrt(self.below), 1 / math.sqrt(2 * self.below)
        share = (start - 1 / math.sqrt(self.rows)) / (start - end)
        return lower * (1 - share) + upper * share


def draws_for(false_alarms: float) -> int:
    """How many draws tell such a probability: five are expected beyond the threshold, within the bounds.

    >>> draws_for(0.01), draws_for(0.2)
    (499, 199)
    """
    return min(max(math.ceil(5 / false_alarms) - 1, _FEWEST_DRAWS), MOST_DRAWS)


def null_distribution(
    seed: tuple[str, ...], method: str, summary: NumericSummary | CategoricalSummary, draws: int
) -> NullDistribution | None:
    """The distribution of a method's statistic for a window of so many rows against a reference of so many.

    ``seed`` names model and feature. Draws are kept with the reference: two sets for each method and octave of rows.
    A reference that was merged from windows takes the shape of the profile that they were counted by, and the next
    power of two down for its rows. None if either side has no rows or the statistic is undefined.
    """
    reference: NumericReference | CategoricalReference = summary.reference
    rows, reference_rows = summary.rows, reference.rows
    if not rows or not reference_rows:
        return None
    shape = reference
    if isinstance(reference, CountedReference):
        shape, reference_rows = reference.template, 2 ** (reference_rows.bit_length() - 1)
    if not shape.rows:
        return None
    below = 2 ** (rows.bit_length() - 1)
    lower = _drawn(shape, (seed, method, below, reference_rows, draws))
    upper = lower if rows == below else _drawn(shape, (seed, method, 2 * below, reference_rows, draws))
    return None if lower is None or upper is None else NullDistribution(rows, below, lower, upper)


_Key = tuple[tuple[str, ...], str, int, int, int]


def _drawn(shape: NumericReference | CategoricalReference, key: _Key) -> Draws | None:
    if key not in shape.memo:
        shape.memo[key] = _draw(shape, key)
    found: Draws | None = shape.memo[key]
    return found


def _draw(shape: NumericReference | CategoricalReference, key: _Key) -> Draws | None:
    _, method, rows, reference_rows, draws = key
    digest = hashlib.blake2b(msgspec.json.encode(key), digest_size=16).digest()
    random = np.random.RandomState(np.frombuffer(digest, dtype="<u4"))
    source = NumericDraws(shape) if isinstance(shape, NumericReference) else CategoricalDraws(shape)
    values = np.empty(draws)
    for index in range(draws):
        statistic = statistic_of(method, source.pair(rows, reference_rows, random)[1])
        if statistic is None or not math.isfinite(statistic):
            return None
        values[index] = statistic
    values.sort()
    return values
