"""Everything that is measured of one feature in one window, before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from driftloop.drift.distances import (
    category_counts,
    decile_counts,
    jensen_shannon,
    ks_statistic,
    psi,
    scaled_wasserstein,
)
from driftloop.drift.significance import chi_square_test, fisher_greater, ks_p_value
from driftloop.events.messages import MethodResult
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.numeric import NumericSummary
from driftloop.spec.model import DriftRules
from driftloop.spec.thresholds import Threshold, ThresholdRule

__all__ = ["Measurement", "Rate", "measure_feature"]


@dataclass(frozen=True)
class Rate:
    """A share of the window's rows, the reference's, and Fisher's one-sided p-value for an increase."""

    hits: int
    rate: float
    reference_rate: float
    p_value: float

    @property
    def increase(self) -> float:
        return self.rate - self.reference_rate

    @classmethod
    def compare(cls, hits: int, rows: int, reference_hits: int, reference_rows: int) -> Rate:
        return cls(
            hits=hits,
            rate=hits / rows if rows else 0.0,
            reference_rate=reference_hits / reference_rows if reference_rows else 0.0,
            p_value=fisher_greater(hits, rows, reference_hits, reference_rows),
        )


@dataclass(frozen=True)
class Measurement:
    """One feature's statistics. ``distances`` is empty and ``p_value`` None where too few values are there to judge its
    distribution; ``missing`` takes infinite values for missing; ``unseen`` is None for numeric features."""

    feature: str
    kind: str
    rows: int
    reference_rows: int
    missing: Rate
    unseen: Rate | None = None
    distances: list[MethodResult] = field(default_factory=list)
    p_value: float | None = None
    mean: float | None = None
    reference_mean: float | None = None


def measure_feature(
    feature: str,
    summary: NumericSummary | CategoricalSummary,
    window_rows: int,
    minimum_rows: int,
    rules: DriftRules,
) -> Measurement:
    """Measure one feature of a window of ``window_rows`` rows, missing ones included, against its reference."""
    if isinstance(summary, NumericSummary):
        return _numeric(feature, summary, window_rows, minimum_rows, rules)
    return _categorical(feature, summary, window_rows, minimum_rows, rules)


def _numeric(
    feature: str, summary: NumericSummary, window_rows: int, minimum_rows: int, rules: DriftRules
) -> Measurement:
    reference: NumericReference = summary.reference
    rows = summary.rows
    reference_missing = reference.missing + reference.infinite
    missing = summary.missing + summary.infinite
    distances: list[MethodResult] = []
    p_value: float | None = None
    ks = ks_statistic(reference, summary)
    if ks is not None and rows >= minimum_rows:
        p_value = ks_p_value(ks, reference.rows, rows)
        bins = decile_counts(reference, summary)
        for method in rules.numeric:
            if method.method == "ks":
                statistic: float | None = ks
            elif method.method == "wasserstein":
                statistic = scaled_wasserstein(reference, summary)
            else:
                statistic = _binned(method.method, *bins)
            distances.append(_result(method.method, statistic, method.threshold, p_value))
    return Measurement(
        feature=feature,
        kind="numeric",
        rows=rows,
        reference_rows=reference.rows,
        missing=Rate.compare(missing, window_rows, reference_missing, reference.rows + reference_missing),
        distances=distances,
        p_value=p_value,
        mean=summary.mean(),
        reference_mean=reference.mean,
    )


def _categorical(
    feature: str, summary: CategoricalSummary, window_rows: int, minimum_rows: int, rules: DriftRules
) -> Measurement:
    reference: CategoricalReference = summary.reference
    rows = summary.rows
    distances: list[MethodResult] = []
    p_value: float | None = None
    table = category_counts(reference, summary)
    test = chi_square_test(*table) if rows >= minimum_rows else None
    if test is not None:
        p_value = test.p_value
        for method in rules.categorical:
            statistic = test.statistic if method.method == "chi_square" else _binned(method.method, *table)
            distances.append(_result(method.method, statistic, method.threshold, p_value))
    return Measurement(
        feature=feature,
        kind="categorical",
        rows=rows,
        reference_rows=reference.rows,
        missing=Rate.compare(summary.missing, window_rows, reference.missing, reference.rows + reference.missing),
        unseen=Rate.compare(summary.unseen, rows, reference.expected_unseen, reference.rows),
        distances=distances,
        p_value=p_value,
    )


def _binned(method: str, reference: NDArray[np.int64], current: NDArray[np.int64]) -> float | None:
    if method == "psi":
        return psi(reference, current)
    if method == "jensen_shannon":
        return jensen_shannon(reference, current)
    raise ValueError(f"drift method {method!r} does not fit this kind of feature; psi and jensen_shannon fit both")


def _result(method: str, statistic: float | None, threshold: Threshold, p_value: float) -> MethodResult:
    # A threshold that is a rule becomes a number in drift/thresholds.py.
    constant = None if isinstance(threshold, ThresholdRule) else threshold
    result = MethodResult(method=method, statistic=statistic, threshold=constant, p_value=p_value)
    if statistic is None or constant is None:
        return result
    return structs.replace(result, exceeded=statistic >= constant)
