"""One drift method's statistic by its name: (reference, window) to a number."""

from __future__ import annotations

from typing import Any, cast

from driftloop.drift.distances import (
    category_counts,
    decile_counts,
    jensen_shannon,
    ks_statistic,
    psi,
    scaled_wasserstein,
)
from driftloop.drift.measure import measure_feature
from driftloop.drift.significance import chi_square_test
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.numeric import NumericSummary
from driftloop.spec.model import DriftMethod, DriftRules

__all__ = ["statistic_of"]


def statistic_of(method: str, summary: NumericSummary | CategoricalSummary) -> float | None:
    """The statistic of a window against ``summary.reference``; None where it is undefined.

    The same as in :func:`driftloop.drift.measure.measure_feature`, but for the methods known here without a test, which
    thousands of draws would pay for. Raises ``ValueError`` for a method that the kind of feature has not.
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
    listed = [DriftMethod(method=cast(Any, method))]
    rules = DriftRules(numeric=listed, categorical=listed)
    measured = measure_feature("", summary, summary.rows, 1, rules).distances
    return measured[0].statistic if measured else None
