"""Everything that is measured of one feature in one window, before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from driftloop.drift.methods import categorical_method, numeric_method
from driftloop.drift.pairs import CategoricalPair, NumericPair, Outcome
from driftloop.drift.significance import fisher_greater
from driftloop.events.reports import MethodResult
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.numeric import NumericSummary
from driftloop.spec.methods import METHODS
from driftloop.spec.model import DriftMethod, DriftRules
from driftloop.spec.thresholds import ThresholdRule

__all__ = ["Measurement", "Rate", "deciding_p_value", "measure_feature"]


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
    distribution; ``p_value`` is that of the methods that decide (see :func:`deciding_p_value`), ``companion_p_value``
    that of the test which all distances share; ``missing`` takes infinite values for missing; ``unseen`` is None for
    numeric features."""

    feature: str
    kind: str
    rows: int
    reference_rows: int
    missing: Rate
    unseen: Rate | None = None
    distances: list[MethodResult] = field(default_factory=list)
    p_value: float | None = None
    companion_p_value: float | None = None
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
    p_value = companion_p_value = None
    if reference.rows and rows and rows >= minimum_rows:
        pair = NumericPair(reference, summary)
        companion_p_value = pair.companion_p_value
        distances = [_result(m, numeric_method(m.method)(pair), companion_p_value) for m in rules.numeric]
        p_value = deciding_p_value(distances, companion_p_value)
    return Measurement(
        feature=feature,
        kind="numeric",
        rows=rows,
        reference_rows=reference.rows,
        missing=Rate.compare(missing, window_rows, reference_missing, reference.rows + reference_missing),
        distances=distances,
        p_value=p_value,
        companion_p_value=companion_p_value,
        mean=summary.mean(),
        reference_mean=reference.mean,
    )


def _categorical(
    feature: str, summary: CategoricalSummary, window_rows: int, minimum_rows: int, rules: DriftRules
) -> Measurement:
    reference: CategoricalReference = summary.reference
    rows = summary.rows
    distances: list[MethodResult] = []
    p_value = companion_p_value = None
    if reference.rows and rows and rows >= minimum_rows:
        pair = CategoricalPair(reference, summary)
        companion_p_value = pair.companion_p_value
        distances = [_result(m, categorical_method(m.method)(pair), companion_p_value) for m in rules.categorical]
        p_value = deciding_p_value(distances, companion_p_value)
    return Measurement(
        feature=feature,
        kind="categorical",
        rows=rows,
        reference_rows=reference.rows,
        missing=Rate.compare(summary.missing, window_rows, reference.missing, reference.rows + reference.missing),
        unseen=Rate.compare(summary.unseen, rows, reference.expected_unseen, reference.rows),
        distances=distances,
        p_value=p_value,
        companion_p_value=companion_p_value,
    )


def _result(method: DriftMethod, outcome: Outcome, companion_p_value: float) -> MethodResult:
    statistic = outcome.statistic
    # A threshold that is a rule becomes a number in drift/thresholds.py.
    threshold = None if isinstance(method.threshold, ThresholdRule) else method.threshold
    return MethodResult(
        method=method.method,
        statistic=statistic,
        threshold=threshold,
        p_value=outcome.p_value if METHODS[method.method].test else companion_p_value,
        exceeded=statistic is not None and threshold is not None and statistic >= threshold,
        low=outcome.low,
        high=outcome.high,
        change=outcome.change,
    )


def deciding_p_value(results: list[MethodResult], companion_p_value: float) -> float:
    """One p-value for the feature: the smallest of the methods that exceed their threshold, multiplied by the number of
    different tests that decide (Bonferroni), so that listing more tests does not raise the rate of false alarms.

    All distances share the companion test, so with distances alone it is the companion's p-value as it is. If nothing
    exceeds its threshold, the smallest of all that decide; if no method has a threshold, the companion's.
    """
    deciding = [result for result in results if result.threshold is not None and result.p_value is not None]
    if not deciding:
        return companion_p_value
    sources = {result.method if METHODS[result.method].test else "" for result in deciding}
    if "" in sources:  # the companion is itself among the methods
        sources -= {"ks", "chi_square"}
    p_values = [result.p_value for result in deciding if result.exceeded] or [result.p_value for result in deciding]
    return min(min(p_value for p_value in p_values if p_value is not None) * len(sources), 1.0)
