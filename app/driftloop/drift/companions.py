"""The companion tests, whose p-values distances are judged by, as methods of their own; and the G-test."""

from __future__ import annotations

from driftloop.drift.pairs import CategoricalPair, NumericPair, Outcome
from driftloop.drift.significance import g_of_table

__all__ = ["chi_square", "g_test", "ks"]


def ks(pair: NumericPair) -> Outcome:
    """Two-sample Kolmogorov-Smirnov."""
    return Outcome(pair.ks, p_value=pair.companion_p_value)


def chi_square(pair: CategoricalPair) -> Outcome:
    """Pearson's test of homogeneity, rare categories pooled."""
    return Outcome(pair.chi_square.statistic, p_value=pair.chi_square.p_value)


def g_test(pair: CategoricalPair) -> Outcome:
    """The likelihood-ratio test of homogeneity, rare categories pooled."""
    test = g_of_table(pair.pooled)
    return Outcome(test.statistic, p_value=test.p_value)
