"""The judgement over a closed input window's estimated performance, before its labels come."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from driftloop.events.reports import MetricReport
from driftloop.performance.estimated.cells import effective_rows
from driftloop.performance.estimated.estimator import METHOD_NAMES, EstimateSums
from driftloop.performance.judge import ReferenceValue
from driftloop.performance.metrics import METRIC_DIRECTION, MetricValue
from driftloop.spec.model import ModelSpec, PerformanceRule

__all__ = ["ESTIMATED", "WEIGHTED", "judge_estimates"]

#: Suffix of the primary estimate: calibrated scores, or the loss model.
ESTIMATED = "~estimated"
#: Suffix of the estimate by the reference's losses, weighed by where the window's scores lie.
WEIGHTED = "~weighted"


def judge_estimates(
    sums: EstimateSums, profile_metrics: Mapping[str, ReferenceValue], spec: ModelSpec, confidence: float = 0.95
) -> list[MetricReport]:
    """Reports called ``<metric>~estimated`` and ``<metric>~weighted``; rules of the spec decide about the former.

    A rule is ``drift`` if the estimate is worse than the reference by at least ``drop`` and the interval of the
    difference, made from both intervals, excludes zero (as for realised metrics). ``insufficient`` with fewer rows than
    ``minimum_rows``, or without an interval or a reference.
    """
    reports: list[MetricReport] = []
    for suffix, metrics in ((ESTIMATED, sums.metrics(confidence)), (WEIGHTED, sums.weighted(confidence))):
        how = METHOD_NAMES[spec.task] if suffix == ESTIMATED else _weighted_by(sums)
        for name, value in metrics.items():
            reports.append(_plain(name, suffix, value, profile_metrics.get(name), how))
    by_name = {report.metric: report for report in reports}
    for rule in spec.performance.rules:
        if rule.estimated:
            judged = sums.metrics(rule.confidence).get(rule.metric)
            report = _judge(rule, judged, profile_metrics.get(rule.metric), spec)
            by_name[report.metric] = report
    return list(by_name.values())


def _weighted_by(sums: EstimateSums) -> str:
    rows = effective_rows(sums.tables.cells, sums.cells.tolist())
    return f"the reference's losses weighed by score, worth {rows:.0f} of {sums.tables.rows} rows"


def _plain(metric: str, suffix: str, value: MetricValue, reference: ReferenceValue | None, how: str) -> MetricReport:
    return MetricReport(
        metric=f"{metric}{suffix}",
        value=value.value,
        low=value.low,
        high=value.high,
        reference=None if reference is None else reference.value,
        rows=value.rows,
        sentence=f"{metric} is estimated at {_number(value.value)} from {how}",
    )


def _judge(
    rule: PerformanceRule, metric: MetricValue | None, reference: ReferenceValue | None, spec: ModelSpec
) -> MetricReport:
    name = f"{rule.metric}{ESTIMATED}"
    if metric is None or metric.rows < spec.minimum_rows:
        rows = 0 if metric is None else metric.rows
        value = MetricValue(None, None, None, rows)
        text = f"{name}: {rows} rows, at least {spec.minimum_rows} are needed"
        if metric is None:
            text = f"{name}: nothing to estimate it from; register a version trained with performance.estimate: true"
        return msgspec.structs.replace(
            _plain(rule.metric, ESTIMATED, value, reference, ""), decision="insufficient", sentence=text
        )
    plain = _plain(rule.metric, ESTIMATED, metric, reference, METHOD_NAMES[spec.task])
    value_now, low, high = metric.value, metric.low, metric.high
    at = None if reference is None else reference.value
    if value_now is None or low is None or high is None or at is None or reference is None:
        missing = "no reference to compare it with" if at is None else "no interval"
        return msgspec.structs.replace(
            plain, decision="insufficient", sentence=f"{name} is {_number(value_now)}; there is {missing}"
        )
    drop = rule.drop * abs(at) if rule.relative else rule.drop
    direction = METRIC_DIRECTION[rule.metric]
    threshold = at - direction * drop
    beyond = value_now <= threshold if direction > 0 else value_now >= threshold
    better_side = high - value_now if direction > 0 else value_now - low
    worse_limit = reference.low if direction > 0 else reference.high
    uncertainty = math.hypot(better_side, 0.0 if worse_limit is None else at - worse_limit)
    significant = direction * (at - value_now) > uncertainty
    said = f"{rule.metric} is estimated at {_number(value_now)} ({metric.rows} rows), reference {_number(at)}"
    if beyond and significant:
        said += f": worse by {_number(abs(value_now - at))}, the bound is {_number(drop)}"
    elif beyond:
        said += f": beyond the bound of {_number(drop)}, but not significantly with so few rows"
    else:
        said += f": within the bound of {_number(drop)}"
    return msgspec.structs.replace(
        plain, threshold=threshold, decision="drift" if beyond and significant else "ok", sentence=said
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
