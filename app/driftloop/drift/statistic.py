"""One drift method's statistic by its name: (reference, window) to a number."""

from __future__ import annotations

from driftloop.drift.distances import (
    category_counts,
    decile_counts,
    jensen_shannon,
    ks_statistic,
    psi,
    scaled_wasserstein,
)
from driftloop.drift.significance import chi_square_test
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.numeric import NumericSummary

__all__ = ["statistic_of"]


def statistic_of(method: str, summary: NumericSummary | CategoricalSummary) -> float | None:
    """The statistic of a window against ``summary.reference``; None where it is undefined.

    The same as in :func:`driftloop.drift.measure.measure_feature`, without a test. Raises ``ValueError`` for a method
    that the kind of feature has not.
    """
    if isinstance(summary, NumericSummary):
        if method == "ks":
            return ks_statistic(summary.reference, summary)
        if method == "wasserstein":
            return scaled_wasserstein(summary.reference, summary)
        table = decile_counts(summary.reference, summary)
    else:
        table = category_counts(summary.reference, summary)
        if method == "chi_square":
            test = chi_square_test(*table)
            return None if test is None else test.statistic
    if method == "psi":
        return psi(*table)
    if method == "jensen_shannon":
        return jensen_shannon(*table)
    raise ValueError(f"drift method {method!r} does not fit this kind of feature")
