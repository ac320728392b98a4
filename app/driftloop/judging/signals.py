"""What a report says to the alerts: one signal for each subject that can be in alert."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from driftloop.drift.sentences import feature_text, percent_text
from driftloop.events.reports import (
    ConceptReport,
    FeatureReport,
    MethodResult,
    MetricReport,
    MultivariateReport,
    WindowReport,
)
from driftloop.quality.judge import UNLISTED_WHEN_FINE
from driftloop.spec.model import DriftRules

__all__ = ["SHARE_SUBJECT", "AlertKind", "Severity", "Signal", "signals_from_report"]

AlertKind = Literal["drift", "performance", "data_quality", "concept_drift"]
Severity = Literal["warning", "critical"]

#: The subject of the alert on the share of drifting features.
SHARE_SUBJECT = "features"


class Signal(Struct, frozen=True, kw_only=True):
    """What one window says about one subject. ``bad`` None: too few rows to say, which changes nothing."""

    kind: AlertKind
    subject: str
    segment: str
    bad: bool | None
    severity: Severity
    statistic: float | None
    threshold: float | None
    method: str
    message: str
    sliding: str = ""


def signals_from_report(report: WindowReport, rules: DriftRules | None = None) -> list[Signal]:
    """What a report says to the alerts. ``rules`` are those of the spec by which it was judged; None: the defaults.

    An input window gives, for each feature, a ``drift`` signal and one of ``data_quality`` for ``<feature>/missing``
    and for ``<feature>/unseen``, one more ``drift`` signal for the share of drifting features (``features``), and one
    for each statistic on sampled rows that can decide (``@multivariate/<method>``, for a vector or text feature
    ``<feature>/<method>``).
    A rule on an estimate gives a ``performance`` signal on ``<metric>~estimated``.
    Each data-quality check gives a ``data_quality`` signal; one that a report lists only where there is something to
    say gives a good one for every feature that could be judged.
    An outcome window gives a ``performance`` signal for each rule, a ``concept_drift`` signal for each change
    detector and a ``data_quality`` one for the scores that labels come for. Coverage by itself gives none. What is bad,
    and how much, is read off the report; nothing is decided here a second time.
    """
    signals = _signals(report, rules or DriftRules())
    if report.sliding:
        return [msgspec.structs.replace(signal, sliding=report.sliding) for signal in signals]
    return signals


def _signals(report: WindowReport, judged_by: DriftRules) -> list[Signal]:
    if report.kind == "outcome":
        of_rules = [_of_metric(metric, report.segment) for metric in report.metrics if metric.decision != "info"]
        concept = (_of_detector(said, report.segment) for said in report.concept)
        return [*of_rules, *concept, *_of_quality(report)]
    signals = [_of_metric(metric, report.segment) for metric in report.estimated if metric.decision != "info"]
    for feature in report.features:
        signals.append(_of_distribution(feature, report.segment))
        signals.extend(_of_rates(feature, report.segment))
    if report.features:
        share = report.drifted_features / report.judged_features if report.judged_features else None
        signals.append(
            Signal(
                kind="drift",
                subject=SHARE_SUBJECT,
                segment=report.segment,
                bad=None if share is None else report.decision == "drift",
                severity="critical",
                statistic=share,
                threshold=judged_by.share_of_features,
                method="share",
                message=f"{report.drifted_features} of {report.judged_features} features drift",
            )
        )
    signals.extend(_of_rows(result, report.segment) for result in report.multivariate if result.threshold is not None)
    signals.extend(_of_quality(report))
    return signals


def _of_quality(report: WindowReport) -> Iterable[Signal]:
    listed = {check.subject for check in report.quality}
    for check in report.quality:
        yield Signal(
            kind="data_quality",
            subject=check.subject,
            segment=report.segment,
            bad=None if check.decision == "insufficient" else check.decision == "broken",
            severity="critical" if check.check == "volume" and not check.rows else "warning",
            statistic=check.statistic,
            threshold=check.threshold,
            method=check.check,
            message=check.sentence,
        )
    if report.segment:
        return
    for feature in report.features:
        if feature.decision == "insufficient":
            continue
        for name in UNLISTED_WHEN_FINE:
            subject = f"{feature.feature}/{name}"
            if subject not in listed:
                yield Signal(
                    kind="data_quality",
                    subject=subject,
                    segment=report.segment,
                    bad=False,
                    severity="warning",
                    statistic=0.0,
                    threshold=None,
                    method=name,
                    message=f"{feature.feature}: nothing found by the check {name!r}",
                )


def _of_rows(result: MultivariateReport, segment: str) -> Signal:
    return Signal(
        kind="drift",
        subject=f"{result.subject or '@multivariate'}/{result.method}",
        segment=segment,
        bad=None if result.decision == "insufficient" else result.decision == "drift",
        severity="warning",
        statistic=result.statistic,
        threshold=result.threshold,
        method=result.method,
        message=result.sentence,
    )


def _of_metric(metric: MetricReport, segment: str) -> Signal:
    return Signal(
        kind="performance",
        subject=metric.metric,
        segment=segment,
        bad=None if metric.decision == "insufficient" else metric.decision == "drift",
        severity=metric.severity or "critical",
        statistic=metric.value,
        threshold=metric.threshold,
        method=metric.metric.split("@")[0].split("#")[0].split("~")[0],
        message=metric.sentence,
    )


def _of_detector(said: ConceptReport, segment: str) -> Signal:
    return Signal(
        kind="concept_drift",
        subject=said.detector,
        segment=segment,
        bad=None if said.state == "insufficient" else said.state == "drift",
        severity="critical",
        statistic=said.statistic,
        threshold=said.threshold,
        method=said.detector.split(":")[0],
        message=said.sentence,
    )


_RATES = ("missing", "unseen")


def _of_distribution(feature: FeatureReport, segment: str) -> Signal:
    distances = [result for result in feature.results if result.method not in _RATES]
    decided = [result for result in distances if result.severity is not None]
    critical = [result for result in decided if result.severity == "critical"]
    first = next(iter([*critical, *decided, *(result for result in distances if result.threshold is not None)]), None)
    return Signal(
        kind="drift",
        subject=feature.feature,
        segment=segment,
        bad=None if feature.adjusted_p_value is None else bool(decided),
        severity="critical" if critical else "warning",
        statistic=None if first is None else first.statistic,
        threshold=None if first is None else first.threshold,
        method="" if first is None else first.method,
        message=feature.sentence,
    )


def _of_rates(feature: FeatureReport, segment: str) -> Iterable[Signal]:
    for result in feature.results:
        if result.method in _RATES:
            yield Signal(
                kind="data_quality",
                subject=f"{feature.feature}/{result.method}",
                segment=segment,
                bad=result.severity is not None,
                severity=result.severity or "warning",
                statistic=result.statistic,
                threshold=result.threshold,
                method=result.method,
                message=_rate_text(feature, result),
            )


def _rate_text(feature: FeatureReport, result: MethodResult) -> str:
    """What this rate alone says, where the feature's sentence speaks of more."""
    if result.severity is not None and all(other.severity is None for other in feature.results if other is not result):
        return feature.sentence
    name = feature_text(feature.feature)
    if result.method == "missing":
        rate = feature.missing / max(feature.rows + feature.missing, 1)
        reference = max(0.0, rate - (result.statistic or 0.0))
        return f"{name} is missing in {percent_text(rate)} of the rows, {percent_text(reference)} in the reference"
    share = percent_text(feature.unseen / max(feature.rows, 1))
    return f"{share} of the rows of {name} have a category that the reference has not"
