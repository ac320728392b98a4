"""Which findings of a fleet of models stand when all that was looked at is counted in.

Within a window p-values are corrected for its features. Who watches a hundred models looks at thousands of features,
and some of them drift by chance. Each (model, subject) that was judged is a hypothesis with an e-value: that of a
concept detector where it has one, otherwise the p-value's calibrated one; 0 where the effect is below its threshold
(what is at most an e-value is one). e-BH over all of them needs no assumption about how features and models depend on
each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, structs

from driftloop.drift.e_values import calibrate_p, e_adjusted
from driftloop.events.reports import FeatureReport, WindowReport

__all__ = ["Finding", "fleet_findings"]

_RATES = ("missing", "unseen")


class Finding(Struct, frozen=True, kw_only=True):
    """One hypothesis: nothing has changed in this subject of this model. ``found``: the report says otherwise;
    ``false_discovery_rate`` is the smallest at which the finding stands in the whole fleet."""

    model_id: str
    model_version: str
    subject: str
    window_end_ms: int
    report_id: str
    e_value: float
    found: bool
    sentence: str
    p_value: float | None = None
    false_discovery_rate: float = 1.0


def fleet_findings(reports: Iterable[WindowReport]) -> list[Finding]:
    """Every hypothesis that the reports judge, with the false discovery rate at which it falls, strongest first.

    Give the latest final report of each model and kind. Realised metrics have intervals and no p-values: they are no
    hypotheses here.
    """
    found = [finding for report in reports for finding in _of_report(report)]
    rates = e_adjusted([finding.e_value for finding in found])
    findings = [structs.replace(finding, false_discovery_rate=rate) for finding, rate in zip(found, rates, strict=True)]
    return sorted(findings, key=lambda finding: (-finding.e_value, finding.model_id, finding.subject))


def _of_report(report: WindowReport) -> Iterator[Finding]:
    for feature in report.features:
        yield from _of_feature(report, feature)
    # Detectors of concept drift; reports from before there were any have none.
    for detector in getattr(report, "concept", ()):
        yield from _of_detector(report, detector)


def _of_feature(report: WindowReport, feature: FeatureReport) -> Iterator[Finding]:
    distances = [result for result in feature.results if result.method not in _RATES]
    p_value = next((result.p_value for result in distances if result.p_value is not None), None)
    if p_value is not None:
        exceeded = any(result.exceeded for result in distances)
        drifts = any(result.severity for result in distances)
        yield _finding(report, feature.feature, p_value, exceeded, drifts, feature.sentence)
    for result in feature.results:
        if result.method in _RATES and result.p_value is not None:
            subject = f"{feature.feature}/{result.method}"
            yield _finding(
                report, subject, result.p_value, result.exceeded, result.severity is not None, feature.sentence
            )


def _finding(report: WindowReport, subject: str, p_value: float, exceeded: bool, found: bool, sentence: str) -> Finding:
    return Finding(
        model_id=report.model_id,
        model_version=report.model_version,
        subject=subject,
        window_end_ms=report.window_end_ms,
        report_id=report.report_id,
        e_value=calibrate_p(p_value) if exceeded else 0.0,
        found=found,
        sentence=sentence,
        p_value=p_value,
    )


def _of_detector(report: WindowReport, detector: Any) -> Iterator[Finding]:
    if detector.state == "insufficient" or (detector.e_value is None and detector.p_value is None):
        return
    found = detector.state == "drift"
    e_value = calibrate_p(detector.p_value) if detector.e_value is None else detector.e_value
    yield Finding(
        model_id=report.model_id,
        model_version=report.model_version,
        subject=f"concept/{detector.detector}",
        window_end_ms=report.window_end_ms,
        report_id=report.report_id,
        e_value=e_value if found else 0.0,
        found=found,
        sentence=detector.sentence,
        p_value=detector.p_value,
    )
