"""The judgement over outcome windows: what was realised, and which bounds on it were broken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from driftloop.events.messages import Severity
from driftloop.events.reports import MetricReport
from driftloop.performance.metrics import MetricValue
from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.metrics import direction_of, known_metrics, reported_metrics
from driftloop.spec.model import ModelSpec, PerformanceRule

__all__ = ["ReferenceValue", "judge_outcomes"]


class ReferenceValue(Protocol):
    """A metric of the reference: what :class:`driftloop.profiles.reference.MetricReference` gives."""

    @property
    def value(self) -> float | None: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


def judge_outcomes(
    window: OutcomeStats,
    trailing: Sequence[OutcomeStats],
    profile_metrics: Mapping[str, ReferenceValue],
    spec: ModelSpec,
) -> list[MetricReport]:
    """Reports of the spec's metrics of the window itself, then of every performance rule of the spec.

    ``trailing`` are the earlier final windows of the same model version, oldest first; a rule over n windows merges
    the last n - 1 of them with the window and is called ``metric@n``. A rule over one window takes the place of the
    metric's plain report. The decision of a rule is

    - ``insufficient`` with fewer windows than it wants, fewer labeled rows than the spec's ``minimum_rows``, a metric
      that is undefined or has no interval, or no reference value;
    - ``drift`` if the metric is worse than the reference by at least the rule's ``drop`` *and* the difference is
      significant: the interval of the difference, made from both intervals, excludes zero;
    - ``ok`` otherwise.

    Where neither direction is better (base rate, bias, mean score, mean label) a change in either one counts.

    Reference: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine 27, 2008 (limits of a difference from the limits of both sides).
    """
    for rule in spec.performance.rules:
        if rule.estimated:  # judged when the input window closes
            continue
        if direction_of(spec.task, rule.metric) is None:
            raise ValueError(
                f"model {spec.model}: a {spec.task} task has no metric {rule.metric!r}; it has "
                f"{', '.join(known_metrics(spec.task))}"
            )
    values = window.metrics(names=reported_metrics(spec))
    reports = {metric: _plain(metric, value, profile_metrics.get(metric)) for metric, value in values.items()}
    merged_by_windows: dict[int, OutcomeStats] = {}
    for rule in spec.performance.rules:
        name = rule.metric if rule.windows == 1 else f"{rule.metric}@{rule.windows}"
        earlier = list(trailing[-(rule.windows - 1) :]) if rule.windows > 1 else []
        if len(earlier) < rule.windows - 1:
            report = _insufficient(
                name, None, window.labeled, profile_metrics.get(rule.metric),
                f"{name}: {len(earlier) + 1} of {rule.windows} windows are there",
            )  # fmt: skip
        else:
            merged = merged_by_windows.get(rule.windows)
            if merged is None:
                merged = window.copy()
                for stats in earlier:
                    merged.merge(stats)
                merged_by_windows[rule.windows] = merged
            report = _judge(name, rule, merged, profile_metrics.get(rule.metric), spec)
        taken = reports.get(name)
        if taken is not None and taken.decision != "info":
            # Two rules on the same metric and windows (say a warning and a steeper bound): both are kept.
            count = 2
            while f"{name}#{count}" in reports:
                count += 1
            report = _renamed(report, f"{name}#{count}")
        reports[report.metric] = report
    return list(reports.values())


def _plain(metric: str, value: MetricValue, reference: ReferenceValue | None) -> MetricReport:
    return MetricReport(
        metric=metric,
        value=value.value,
        low=value.low,
        high=value.high,
        reference=None if reference is None else reference.value,
        rows=value.rows,
        error_bound=value.error_bound,
        sentence=f"{metric} is {_number(value.value)}",
    )


def _renamed(report: MetricReport, name: str) -> MetricReport:
    return msgspec.structs.replace(report, metric=name)


def _insufficient(
    name: str, value: MetricValue | None, rows: int, reference: ReferenceValue | None, sentence: str
) -> MetricReport:
    return MetricReport(
        metric=name,
        value=None if value is None else value.value,
        low=None if value is None else value.low,
        high=None if value is None else value.high,
        reference=None if reference is None else reference.value,
        rows=max(0, rows),
        error_bound=None if value is None else value.error_bound,
        decision="insufficient",
        sentence=sentence,
    )


def _judge(
    name: str, rule: PerformanceRule, merged: OutcomeStats, reference: ReferenceValue | None, spec: ModelSpec
) -> MetricReport:
    if merged.labeled < spec.minimum_rows:
        return _insufficient(
            name, None, merged.labeled, reference,
            f"{name}: {max(0, merged.labeled)} labeled rows, at least {spec.minimum_rows} are needed",
        )  # fmt: skip
    metric = merged.metrics(rule.confidence, [rule.metric])[rule.metric]
    value, low, high = metric.value, metric.low, metric.high
    if value is None or low is None or high is None:
        missing = "is undefined" if value is None else f"is {_number(value)} without an interval"
        return _insufficient(
            name,
            metric,
            metric.rows,
            reference,
            f"{name} {missing}: too few rows of one kind, or values without spread",
        )
    if reference is None or reference.value is None:
        return _insufficient(
            name, metric, metric.rows, None, f"{name} is {_number(value)}; the model version has no reference for it"
        )
    at = reference.value
    drop = rule.drop * abs(at) if rule.relative else rule.drop
    # Only metrics that may go either way can have both signs; +1 here means that falling is bad.
    direction = direction_of(spec.task, rule.metric) or (1 if value < at else -1)
    threshold = at - direction * drop
    worse_by = direction * (at - value)
    significant = worse_by > _uncertainty(value, low, high, reference, at, direction)
    # Compared on the metric's own scale, so that a value right on the bound counts on both sides alike.
    beyond = value <= threshold if direction > 0 else value >= threshold
    drifted = beyond and significant
    return MetricReport(
        metric=name,
        value=value,
        low=low,
        high=high,
        reference=at,
        rows=metric.rows,
        error_bound=metric.error_bound,
        threshold=threshold,
        decision="drift" if drifted else "ok",
        severity=_severity(rule, worse_by, at) if drifted else None,
        sentence=_sentence(spec, rule, value, at, drop, drifted=drifted, beyond=beyond, rows=metric.rows),
    )


def _severity(rule: PerformanceRule, worse_by: float, at: float) -> Severity:
    if rule.critical is None:
        return "critical"
    return "critical" if worse_by >= (rule.critical * abs(at) if rule.relative else rule.critical) else "warning"


def _uncertainty(value: float, low: float, high: float, reference: ReferenceValue, at: float, direction: int) -> float:
    """How much worse than the reference the value must be for zero to lie outside the interval of the difference."""
    better_side = high - value if direction > 0 else value - low
    worse_limit = reference.low if direction > 0 else reference.high
    reference_side = 0.0 if worse_limit is None else abs(at - worse_limit)
    return math.sqrt(better_side * better_side + reference_side * reference_side)


def _sentence(
    spec: ModelSpec,
    rule: PerformanceRule,
    value: float,
    at: float,
    drop: float,
    *,
    drifted: bool,
    beyond: bool,
    rows: int,
) -> str:
    over = f" over {rule.windows} windows" if rule.windows > 1 else ""
    change = f"{rule.metric} is {_number(value)}{over} ({rows} labeled rows), reference {_number(at)}"
    if drifted:
        way = "different" if direction_of(spec.task, rule.metric) == 0 else "worse"
        return f"{change}: {way} by {_number(abs(value - at))}, the bound is {_number(drop)}"
    if beyond:
        return f"{change}: beyond the bound of {_number(drop)}, but not significantly with so few rows"
    return f"{change}: within the bound of {_number(drop)}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
