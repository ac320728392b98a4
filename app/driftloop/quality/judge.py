"""The one decision about each data-quality check of a window, used live and in replay.

A check is broken if its statistic is beyond its threshold *and*, where chance plays a part, significant: at
``quality.significance``, Bonferroni-corrected over the features, each check a family of its own. Rows of one window are
more alike than rows of a whole reference, so what a feature's values do (constant, stuck, lost) is a break only if a
week's windows before did not do it: a window's breaks are not learned as usual, but what its first windows have is.
"""

from __future__ import annotations

from dataclasses import replace

from driftloop.events.reports import QualityDecision, QualityReport
from driftloop.profiles.inputs import InputStats
from driftloop.quality.constant import constant_columns
from driftloop.quality.duplicates import duplicate_rows, repeated_ids
from driftloop.quality.finding import Finding
from driftloop.quality.history import QualityHistory
from driftloop.quality.infinite import infinite_values
from driftloop.quality.lost import lost_categories
from driftloop.quality.rule_violations import rule_violations
from driftloop.quality.schema import absent_keys, new_keys
from driftloop.quality.stuck import stuck_values
from driftloop.quality.type_errors import type_errors
from driftloop.quality.volume import volume
from driftloop.spec.model import ModelSpec

__all__ = ["UNLISTED_WHEN_FINE", "judge_quality", "judge_volume", "usual_findings"]

# So many windows must have been judged before what they have is known as usual.
_WINDOWS_TO_KNOW = 7
_MAY_BE_USUAL = ("constant", "stuck", "lost")

#: Checks of features that are in a report only where there is something to say.
UNLISTED_WHEN_FINE = ("type_errors", "infinite", "constant", "stuck", "lost", "absent_key")


def judge_quality(stats: InputStats, spec: ModelSpec, history: QualityHistory | None = None) -> list[QualityReport]:
    """The checks of one version's window. Without ``history`` (a restated report) none that compares with earlier
    windows. Volume is judged apart: it is the model's, not a version's."""
    rules = spec.quality
    if not rules.enabled:
        return []
    findings = [
        *type_errors(stats, rules),
        *rule_violations(stats, spec),
        *infinite_values(stats, rules),
        *constant_columns(stats, rules, spec.minimum_rows),
        *stuck_values(stats, rules, spec.minimum_rows),
        *lost_categories(stats, rules, spec.minimum_rows),
        *absent_keys(stats, rules),
    ]
    known = history or QualityHistory()
    significance = _of_features(stats, spec)
    reports = [_report(_compared(finding, significance, known), significance) for finding in findings]
    if history is not None:
        compared = (
            repeated_ids(stats, history, rules),
            duplicate_rows(stats, history, rules, spec.minimum_rows),
            new_keys(stats, history, rules),
        )
        reports += [_report(finding, rules.significance) for finding in compared if finding is not None]
    return reports


def usual_findings(reports: list[QualityReport], stats: InputStats, spec: ModelSpec) -> list[str]:
    """Subjects of findings about a feature's values that were beyond their bounds and yet no break."""
    significance = _of_features(stats, spec)
    return [
        report.subject
        for report in reports
        if report.check in _MAY_BE_USUAL and report.decision != "broken" and _beyond(report, significance)
    ]


def _of_features(stats: InputStats, spec: ModelSpec) -> float:
    return spec.quality.significance / max(len(stats.features), 1)


def _beyond(report: QualityReport, significance: float) -> bool:
    exceeded = report.statistic is not None and report.threshold is not None and report.statistic >= report.threshold
    return exceeded and report.p_value is not None and report.p_value < significance


def _compared(finding: Finding, significance: float, history: QualityHistory) -> Finding:
    """A finding about a feature's values in the light of earlier windows."""
    significant = finding.p_value is not None and finding.p_value < significance
    if not (finding.may_be_usual and finding.exceeded and significant):
        return finding
    # A value that all rows have is one that far too many have: where the latter is usual, the former is a little more.
    if history.usual.keys() & {finding.subject, finding.subject.replace("/constant", "/stuck")}:
        return replace(finding, exceeded=False, sentence=f"{finding.sentence}; so it was in earlier windows, too")
    if history.judged < _WINDOWS_TO_KNOW:
        return replace(finding, enough=False, sentence=f"{finding.sentence}; too few earlier windows to compare with")
    return finding


def judge_volume(history: QualityHistory, rows: int, start_ms: int, spec: ModelSpec) -> list[QualityReport]:
    """The model's rows over all versions in the window at ``start_ms``, up to which the history must reach."""
    finding = volume(history, rows, start_ms, spec.quality) if spec.quality.enabled else None
    return [] if finding is None else [_report(finding, spec.quality.significance)]


def _report(finding: Finding, significance: float) -> QualityReport:
    decision: QualityDecision = "ok"
    if not finding.enough:
        decision = "insufficient"
    elif finding.exceeded and (finding.p_value is None or finding.p_value < significance):
        decision = "broken"
    return QualityReport(
        check=finding.check,
        subject=finding.subject,
        statistic=finding.statistic,
        threshold=finding.threshold,
        p_value=finding.p_value,
        rows=finding.rows,
        decision=decision,
        sentence=finding.sentence,
        low=finding.low,
        high=finding.high,
        breaks_inputs=finding.breaks_inputs,
    )
