"""What a statistic is worth by chance alone: its distribution if window and reference are draws of the same.

A parametric bootstrap: both sides are drawn from the reference's counts, at the sizes of the window and the reference,
and the statistic is taken of each pair. Ranks among the draws give a Monte Carlo test that keeps its level at any
number of draws (A. C. A. Hope, "A simplified Monte Carlo significance test procedure", Journal of the Royal Statistical
Society B 30, 1968; A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2).

The draws are seeded by model, feature, method and sizes: live and replay find the same thresholds. ``RandomState``,
because NumPy promises that its stream stays the same (NEP 19).
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.drift.statistic import statistic_of
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.counted import CountedReference
from driftloop.profiles.numeric import NumericSummary
from driftloop.profiles.resampling import CategoricalDraws, NumericDraws

__all__ = ["MOST_DRAWS", "NullStatistics", "bucket_rows", "draws_for", "null_statistics"]

_FEWEST_DRAWS = 199
MOST_DRAWS = 1_999

#: Sizes are rounded down to four steps an octave: a smaller sample strays further, so a threshold errs upwards, by at
#: most a tenth.
_BUCKETS: list[int] = [*range(1, 8), *(int(2 ** (step / 4)) for step in range(12, 4 * 40))]


class NullStatistics(msgspec.Struct, frozen=True):
    """Draws of a statistic under no change, in rising order, shape (draws,), and the sizes that they were made at."""

    values: NDArray[np.float64]
    rows: int
    reference_rows: int

    def bound(self, false_alarms: float) -> float:
        """The value that an unchanged window reaches with probability ``false_alarms`` at most."""
        rank = math.floor(false_alarms * (self.values.size + 1))
        # Reaching the next float above the rank-th largest means that fewer than ``rank`` draws are as large.
        return float(np.nextafter(self.values[-max(rank, 1)], math.inf))

    def spread(self, deviations: float) -> float:
        """Mean plus so many standard deviations."""
        return float(self.values.mean() + deviations * self.values.std())


def draws_for(false_alarms: float) -> int:
    """How many draws tell such a probability: five are expected beyond the threshold, within the bounds.

    >>> draws_for(0.01), draws_for(0.2)
    (499, 199)
    """
    return min(max(math.ceil(5 / false_alarms) - 1, _FEWEST_DRAWS), MOST_DRAWS)


def bucket_rows(rows: int) -> int:
    """A sample size rounded down to those for which distributions are kept.

    >>> bucket_rows(5), bucket_rows(900), bucket_rows(1024)
    (5, 861, 1024)
    """
    return _BUCKETS[bisect_right(_BUCKETS, max(rows, 1)) - 1]


def null_statistics(
    seed: tuple[str, ...], method: str, summary: NumericSummary | CategoricalSummary, draws: int
) -> NullStatistics | None:
    """The distribution of a method's statistic for a window of so many rows against a reference of so many.

    ``seed`` names model and feature. Distributions are kept with the reference, one for each method, pair of sizes and
    number of draws. A reference that was merged from windows takes the shape of the profile that they were counted by.
    None if either side has no rows or the statistic is undefined.
    """
    reference: NumericReference | CategoricalReference = summary.reference
    if not summary.rows or not reference.rows:
        return None
    rows, reference_rows = bucket_rows(summary.rows), bucket_rows(reference.rows)
    shape = reference.template if isinstance(reference, CountedReference) else reference
    if not shape.rows:
        return None
    key = (seed, method, rows, reference_rows, draws)
    if key not in shape.memo:
        shape.memo[key] = _draw(shape, key)
    found: NullStatistics | None = shape.memo[key]
    return found


def _draw(
    shape: NumericReference | CategoricalReference, key: tuple[tuple[str, ...], str, int, int, int]
) -> NullStatistics | None:
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
    return NullStatistics(values, rows, reference_rows)
