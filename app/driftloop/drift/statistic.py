"""One drift method's statistic by its name: (reference, window) to a number."""

from __future__ import annotations

from driftloop.drift.methods import categorical_method, numeric_method
from driftloop.drift.pairs import CategoricalPair, NumericPair
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.numeric import NumericSummary

__all__ = ["statistic_of"]


def statistic_of(method: str, summary: NumericSummary | CategoricalSummary) -> float | None:
    """The statistic of a window against ``summary.reference``; None where it is undefined.

    Raises ``ValueError`` for a method that the kind of feature has not.
    """
    if not summary.rows or not summary.reference.rows:
        return None
    if isinstance(summary, NumericSummary):
        if method == "ks":
            # Its exact p-value takes milliseconds, which thousands of draws under no change have no use for.
            return NumericPair(summary.reference, summary).ks
        return numeric_method(method)(NumericPair(summary.reference, summary)).statistic
    return categorical_method(method)(CategoricalPair(summary.reference, summary)).statistic
