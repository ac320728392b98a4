"""The catalogue of drift methods: what a spec may name, for which features, and what its number means.

One row for each method; what else there is of it (the names that a spec accepts, the checks of thresholds, the
functions that :mod:`driftloop.drift.measure` calls, the table in docs/methods.md) follows from here. To add a method,
write its function and its row. Every statistic is made so that larger means more drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["METHODS", "MethodEntry", "method_names"]


@dataclass(frozen=True)
class MethodEntry:
    """One method.

    ``numeric`` and ``categorical`` name its function within ``driftloop.drift`` as ``module:function``, None where it
    does not fit that kind of feature; the function takes the pair of reference and window of its kind and gives an
    ``Outcome``. A ``test`` is judged by its own p-value, a distance by that of the companion test (two-sample KS,
    two-sample chi-square). ``largest`` is the largest value that the statistic can take, None if there is no bound.
    ``default_threshold`` is an effect that is worth an alert in most uses; None where the statistic grows with the
    rows, so that no one number fits. ``unit`` says in words what the statistic is measured in.
    """

    name: str
    title: str
    unit: str
    numeric: str | None = None
    categorical: str | None = None
    test: bool = False
    largest: float | None = None
    default_threshold: float | None = None


_ROWS = (
    MethodEntry(
        name="ks",
        title="Kolmogorov-Smirnov",
        unit="largest difference of the distribution functions",
        numeric="companions:ks",
        test=True,
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="chi_square",
        title="Pearson's chi-square",
        unit="chi-square statistic; grows with the rows",
        categorical="companions:chi_square",
        test=True,
    ),
    MethodEntry(
        name="psi",
        title="population stability index",
        unit="nats, both directions added",
        numeric="binned:psi_of",
        categorical="binned:psi_of",
        default_threshold=0.1,
    ),
    MethodEntry(
        name="jensen_shannon",
        title="Jensen-Shannon distance",
        unit="0 (equal) to 1 (nothing in common)",
        numeric="binned:jensen_shannon_of",
        categorical="binned:jensen_shannon_of",
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="wasserstein",
        title="Wasserstein distance, normed",
        unit="standard deviations of the reference",
        numeric="transport:wasserstein_normed",
        default_threshold=0.25,
    ),
    MethodEntry(
        name="wasserstein_raw",
        title="Wasserstein distance",
        unit="the feature's own unit",
        numeric="transport:wasserstein_raw",
    ),
    MethodEntry(
        name="energy",
        title="energy distance, normed",
        unit="square roots of the reference's standard deviation",
        numeric="transport:energy_normed",
        default_threshold=0.2,
    ),
    MethodEntry(
        name="energy_raw",
        title="energy distance",
        unit="square root of the feature's own unit",
        numeric="transport:energy_raw",
    ),
    MethodEntry(
        name="anderson_darling",
        title="Anderson-Darling",
        unit="standardised statistic; grows with the rows",
        numeric="anderson_darling:anderson_darling",
        test=True,
    ),
    MethodEntry(
        name="cramer_von_mises",
        title="Cramér-von Mises",
        unit="T statistic; grows with the rows",
        numeric="cramer_von_mises:cramer_von_mises",
        test=True,
    ),
    MethodEntry(
        name="mann_whitney",
        title="Mann-Whitney U",
        unit="how far P(window > reference), ties half, is from 0.5",
        numeric="mann_whitney:mann_whitney",
        test=True,
        largest=0.5,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="kullback_leibler",
        title="Kullback-Leibler divergence",
        unit="nats",
        numeric="binned:kullback_leibler_of",
        categorical="binned:kullback_leibler_of",
        default_threshold=0.1,
    ),
    MethodEntry(
        name="hellinger",
        title="Hellinger distance",
        unit="0 (equal) to 1 (nothing in common)",
        numeric="binned:hellinger_of",
        categorical="binned:hellinger_of",
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="total_variation",
        title="total variation distance",
        unit="share of rows that would have to change",
        numeric="binned:total_variation_of",
        categorical="binned:total_variation_of",
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="mean_shift",
        title="shift of the mean",
        unit="standard deviations of the reference",
        numeric="shifts:mean_shift",
        default_threshold=0.25,
    ),
    MethodEntry(
        name="median_shift",
        title="shift of the median",
        unit="standard deviations of the reference",
        numeric="shifts:median_shift",
        default_threshold=0.25,
    ),
    MethodEntry(
        name="quantile_05_shift",
        title="shift of the 5 % quantile",
        unit="standard deviations of the reference",
        numeric="shifts:quantile_05_shift",
        default_threshold=0.5,
    ),
    MethodEntry(
        name="quantile_95_shift",
        title="shift of the 95 % quantile",
        unit="standard deviations of the reference",
        numeric="shifts:quantile_95_shift",
        default_threshold=0.5,
    ),
    MethodEntry(
        name="g_test",
        title="G-test (likelihood ratio)",
        unit="G statistic; grows with the rows",
        categorical="companions:g_test",
        test=True,
    ),
    MethodEntry(
        name="fisher_exact",
        title="Fisher's exact test",
        unit="difference of the shares; only for features of two values",
        categorical="two_valued:fisher_exact",
        test=True,
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="z_test",
        title="z-test of two proportions",
        unit="difference of the shares; only for features of two values",
        categorical="two_valued:z_test",
        test=True,
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="l_infinity",
        title="L-infinity distance",
        unit="largest change of a category's share",
        categorical="binned:l_infinity_of",
        largest=1.0,
        default_threshold=0.1,
    ),
    MethodEntry(
        name="lost_share",
        title="share of lost categories",
        unit="share of the reference's rows",
        categorical="lost_categories:lost_share",
        test=True,
        largest=1.0,
        default_threshold=0.01,
    ),
    MethodEntry(
        name="lost_categories",
        title="number of lost categories",
        unit="categories",
        categorical="lost_categories:lost_number",
        test=True,
        default_threshold=1.0,
    ),
)

#: By the name that a spec gives.
METHODS: Final[Mapping[str, MethodEntry]] = {row.name: row for row in _ROWS}


def method_names(kind: str) -> tuple[str, ...]:
    """Methods for ``numeric`` or ``categorical`` features, in the order of the catalogue."""
    return tuple(row.name for row in _ROWS if (row.numeric if kind == "numeric" else row.categorical))
