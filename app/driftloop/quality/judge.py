"""The one decision about each data-quality check of a window, used live and in replay.

A check is broken if its statistic is beyond its threshold *and*, where chance plays a part, significant: at
``quality.significance``, Bonferroni-corrected over the features, each check a family of its own.
"""

from __future__ import annotations

from driftloop.events.messages import QualityDecision, QualityReport
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

__all__ = ["UNLISTED_WHEN_FINE", "judge_quality", "judge_volume"]

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
    reports = [_report(finding, rules.significance / max(len(stats.features), 1)) for finding in findings]
    if history is not None:
        compared = (
            repeated_ids(stats, history, rules),
            duplicate_rows(stats, history, rules, spec.minimum_rows),
            new_keys(stats, history, rules),
        )
        reports += [_report(finding, rules.significance) for finding in compared if finding is not None]
    return reports


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
