"""Judging one window: from merged statistics to reports, alerts and commands.

A pure step: the model's state and the window in, the next state and what follows out. Live and replay run this very
code. Input windows are judged in their own order, and the policy hears of them when the outcome window of the same end
is judged, so that no decision depends on how far predictions happened to be ahead of labels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from driftloop.events.decisions import PolicyDecision, RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import FeatureReport, QualityReport, WindowReport
from driftloop.judging.alerts import AlertBook, retire_versions, step
from driftloop.judging.approval import Approved, alert_unapproved, always_approved
from driftloop.judging.concept import judge_concept
from driftloop.judging.earlier import EarlierWindows
from driftloop.judging.report import Beside, MergedPart, report_of
from driftloop.judging.serving import picked
from driftloop.judging.signals import signals_from_report
from driftloop.judging.sliding import sliding_parts, sliding_spec
from driftloop.judging.state import ModelState, TrailingWindow
from driftloop.performance.estimated.record import compare_estimates, hold_estimates
from driftloop.performance.outcome_wire import without_arrivals
from driftloop.performance.outcomes import OutcomeStats
from driftloop.policy.drifting import drifts_critically
from driftloop.policy.guards import LABEL_SHIFT
from driftloop.policy.retrain import decide
from driftloop.profiles.inputs import InputStats
from driftloop.quality.duplicates import copies_share
from driftloop.quality.history import QualityHistory, caught_up, remember
from driftloop.quality.judge import judge_volume, usual_findings
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import WindowKey

__all__ = ["Judged", "judge_window", "segments_of"]


@dataclass
class Judged:
    """What follows from windows: to be committed in one transaction."""

    reports: list[tuple[WindowReport, bytes]] = field(default_factory=list)  # with the merged statistics
    alerts: list[Alert] = field(default_factory=list)
    decisions: list[PolicyDecision] = field(default_factory=list)
    commands: list[RetrainCommand] = field(default_factory=list)

    def add(self, other: Judged) -> None:
        """What follows from later windows comes after it."""
        self.reports += other.reports
        self.alerts += other.alerts
        self.decisions += other.decisions
        self.commands += other.commands


def judge_window(
    key: WindowKey,
    parts: list[MergedPart],
    state: ModelState,
    spec: ModelSpec,
    spec_digest: str,
    earlier: EarlierWindows | None = None,
    approved: Approved = always_approved,
    unregistered: Mapping[str, int] | None = None,
    promoted: Approved = always_approved,
) -> Judged:
    """Judge a final window: all its versions and segments together. Changes ``state``. Without ``earlier`` there are no
    sliding windows, and rolling and seasonal references have nothing to say. ``approved``: which versions may
    serve, ``promoted``: which have been champion; ``unregistered``: predictions of versions that nobody registered, by
    version."""
    judged = Judged()
    parts = sorted(parts, key=lambda part: (part.version, part.segment))
    reports: list[WindowReport] = []
    rows = {part.version: _rows(part) for part in parts if not part.segment}
    version = picked(key, rows, state, spec, promoted, approved)
    serves = next((part for part in parts if part.version == version and not part.segment), None)
    history, volume = _before(key, sum(rows.values()), state, spec)
    concept = judge_concept(serves, state.concept, spec, key.start_ms)
    for part in parts:
        beside = Beside(
            history=history,
            volume=volume if part is serves else (),
            concept=concept.get((part.version, part.segment), ()),
            earlier=earlier,
        )
        if isinstance(part.stats, OutcomeStats) and not part.segment:
            kept = state.trailing.get(part.version, [])
            state.estimates, comparisons = compare_estimates(
                state.estimates, part.version, key.end_ms, part.stats.metrics()
            )
            beside = replace(
                beside,
                trailing=_of_same_settings(kept, part.stats),
                groups=segments_of(part.version, parts),
                comparisons=comparisons,
                coverage=state.coverage,
            )
        report, stats = report_of(key, part, spec, spec_digest, beside)
        if key.kind == "input" and not part.segment:
            state.estimates = hold_estimates(state.estimates, part.version, key.end_ms, report.estimated)
        reports.append(report)
        judged.reports.append((report, stats))
    serving = next((report for report in reports if report.model_version == version and not report.segment), None)
    if serving is not None:
        judged.alerts += _update_alerts(state, key, reports, serving.model_version, spec)
    if key.kind == "input":
        state.alerts, unapproved = alert_unapproved(
            state.alerts, key, reports, spec.alerts, approved, unregistered or {}
        )
        judged.alerts += unapproved
        state.last_input_end_ms = key.end_ms
        _remember_quality(state, history, key, sum(rows.values()), serves, serving, spec)
        if serving is not None:
            state.unheard_inputs.append(_without_features(serving))
    else:
        state.last_outcome_end_ms = key.end_ms
        whole = [part.stats for part in parts if isinstance(part.stats, OutcomeStats) and not part.segment]
        _remember_coverage(state, parts, serving)
        state.delays = state.delays.after([stats.arrivals for stats in whole if stats.arrivals is not None])
        _keep_trailing(state, judged.reports, key, spec)
        if serving is not None:
            _consult_policy(state, serving, reports, spec, judged)
    if earlier is not None and spec.sliding:
        _judge_sliding(key, parts, state, spec, spec_digest, earlier, serving, judged)
    return judged


def _of_same_settings(kept: list[TrailingWindow], like: OutcomeStats) -> list[OutcomeStats]:
    """Trailing windows without those from before a change of the spec that made other statistics."""
    found = []
    for window in kept:
        with contextlib.suppress(ValueError):
            found.append(OutcomeStats.decode(bytes(window.stats), like))
    return found


def _judge_sliding(
    key: WindowKey,
    parts: list[MergedPart],
    state: ModelState,
    spec: ModelSpec,
    spec_digest: str,
    earlier: EarlierWindows,
    serving: WindowReport | None,
    judged: Judged,
) -> None:
    """Judge the sliding windows that end with this one. Policy and rules over several windows listen to panes alone."""
    wide_spec = sliding_spec(spec)
    for part in parts:
        for wide in sliding_parts(key, (part.version, part.segment), part.stats, spec, earlier):
            merged = MergedPart(part.version, part.segment, wide.stats, [], part.profile)
            report, _ = report_of(wide.key, merged, wide_spec, spec_digest, Beside(sliding=wide))
            # Its statistics are those of the panes, which are stored already.
            judged.reports.append((report, b""))
            if serving is not None and part.version == serving.model_version:
                state.alerts, events = _step_alerts(state, report, spec)
                judged.alerts += events


def _before(
    key: WindowKey, rows: int, state: ModelState, spec: ModelSpec
) -> tuple[QualityHistory, list[QualityReport]]:
    """What data-quality checks of an input window need: the history up to it, and the verdict on the model's rows."""
    if key.kind != "input":
        return state.quality, []
    history = caught_up(state.quality, key.start_ms, key.end_ms - key.start_ms)
    return history, judge_volume(history, rows, key.start_ms, spec)


def _rows(part: MergedPart) -> int:
    """As the part's report will count them."""
    return part.stats.rows if isinstance(part.stats, InputStats) else part.stats.predicted


def _remember_quality(
    state: ModelState,
    history: QualityHistory,
    key: WindowKey,
    rows: int,
    serves: MergedPart | None,
    serving: WindowReport | None,
    spec: ModelSpec,
) -> None:
    if serves is not None and serving is not None and isinstance(serves.stats, InputStats):
        copies = copies_share(serves.stats, spec.minimum_rows)
        usual = usual_findings(serving.quality, serves.stats, spec)
        state.quality = remember(
            history, serves.stats, serves.version, rows=rows, end_ms=key.end_ms, copies=copies, usual=usual
        )


def _remember_coverage(state: ModelState, parts: list[MergedPart], serving: WindowReport | None) -> None:
    """Of the version that serves alone: others may be served to chosen rows."""
    for part in parts:
        if serving is not None and part.version == serving.model_version and not part.segment:
            assert isinstance(part.stats, OutcomeStats), "an outcome window has outcomes"
            said = next((check for check in serving.quality if check.check == LABEL_SHIFT), None)
            state.coverage = state.coverage.after(part.stats.bands, said)


def segments_of(version: str, parts: Iterable[MergedPart]) -> dict[str, OutcomeStats]:
    """Outcome statistics of a version's segments, by segment key."""
    return {
        part.segment: part.stats
        for part in parts
        if part.version == version and part.segment and isinstance(part.stats, OutcomeStats)
    }


def _update_alerts(
    state: ModelState, key: WindowKey, reports: list[WindowReport], serving: str, spec: ModelSpec
) -> list[Alert]:
    """Alerts speak about the version that serves; those of the one before it end when it is replaced."""
    state.alerts, events = retire_versions(
        state.alerts, key.kind, serving=serving, window_start_ms=key.start_ms, window_end_ms=key.end_ms
    )
    for report in reports:
        if report.model_version == serving:
            state.alerts, more = _step_alerts(state, report, spec)
            events += more
    return events


def _step_alerts(state: ModelState, report: WindowReport, spec: ModelSpec) -> tuple[AlertBook, list[Alert]]:
    return step(
        state.alerts,
        signals_from_report(report, spec.drift),
        spec.alerts,
        model_id=report.model_id,
        model_version=report.model_version,
        window_start_ms=report.window_start_ms,
        window_end_ms=report.window_end_ms,
        report_id=report.report_id,
    )


def _keep_trailing(
    state: ModelState, reports: list[tuple[WindowReport, bytes]], key: WindowKey, spec: ModelSpec
) -> None:
    longest = max((rule.windows for rule in spec.performance.rules), default=1)
    if longest > 1:
        for report, stats in reports:
            if not report.segment:
                kept = state.trailing.get(report.model_version, [])
                kept = [*kept, TrailingWindow(key.end_ms, msgspec.Raw(without_arrivals(stats)))]
                state.trailing[report.model_version] = kept[-(longest - 1) :]
    # A version that no longer serves takes no part in a rule over the last windows.
    oldest_ms = key.end_ms - longest * spec.window_ms
    for version, windows in list(state.trailing.items()):
        recent = [window for window in windows if window.end_ms > oldest_ms]
        if recent:
            state.trailing[version] = recent
        else:
            del state.trailing[version]


def _consult_policy(
    state: ModelState, serving: WindowReport, reports: list[WindowReport], spec: ModelSpec, judged: Judged
) -> None:
    state.labeled_rows_since += sum(report.labeled_rows for report in reports if not report.segment)
    due = [report for report in state.unheard_inputs if report.window_end_ms <= serving.window_end_ms]
    state.unheard_inputs = [report for report in state.unheard_inputs if report.window_end_ms > serving.window_end_ms]
    for report in [*due, serving]:
        state.policy, decisions, command = decide(
            spec,
            state.policy,
            report,
            champion_version=serving.model_version if report is serving else report.model_version,
            labeled_rows_since=state.labeled_rows_since,
        )
        judged.decisions += decisions
        if command is not None:
            judged.commands.append(msgspec.structs.replace(command, spec_digest=serving.spec_digest))
            state.labeled_rows_since = 0


def _without_features(report: WindowReport) -> WindowReport:
    """What the policy needs of it: of the features only those that drift because their values are missing, or
    critically, with the weights of the latter."""
    kept = [feature for feature in report.features if _is_missing(feature) or drifts_critically(feature)]
    critical = {feature.feature for feature in kept if drifts_critically(feature)}
    broken = [check for check in report.quality if check.decision == "broken"]
    judged = [estimate for estimate in report.estimated if estimate.decision != "info"]
    return msgspec.structs.replace(
        report,
        features=[_short(feature) for feature in kept],
        quality=broken,
        estimated=judged,
        sources=[],
        multivariate=[],
        ranking=[rank for rank in report.ranking if rank.feature in critical],
    )


def _short(feature: FeatureReport) -> FeatureReport:
    return msgspec.structs.replace(
        feature,
        results=[result for result in feature.results if result.exceeded or result.severity is not None],
        others=[],
    )


def _is_missing(feature: FeatureReport) -> bool:
    return feature.decision == "drift" and any(
        result.method == "missing" and result.exceeded for result in feature.results
    )
