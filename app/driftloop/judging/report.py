"""The report of one version and segment of a window: every statistic, every decision, and a sentence on the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from driftloop.drift.judge import judge_inputs
from driftloop.drift.ranking import importance_weights, rank_features, weighted_share
from driftloop.drift.references import judge_by_references
from driftloop.events.messages import SourceRange
from driftloop.events.reports import ConceptReport, EstimateComparison, FeatureReport, QualityReport, WindowReport
from driftloop.judging.concept import with_concept
from driftloop.judging.earlier import EarlierWindows, earlier_references
from driftloop.judging.report_ids import report_id_of
from driftloop.judging.sentences import input_sentence, outcome_sentence, quality_sentence
from driftloop.judging.sliding import SlidingPart
from driftloop.multivariate.judge import judge_rows, with_rows_sentence
from driftloop.performance.estimated.judge import judge_estimates
from driftloop.performance.fairness import judge_fairness
from driftloop.performance.judge import judge_outcomes
from driftloop.performance.label_coverage import CoverageHistory, judge_coverage
from driftloop.performance.maturity import label_report
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.quality.history import QualityHistory
from driftloop.quality.judge import judge_quality
from driftloop.spec.model import ModelSpec
from driftloop.windows.assembly import WindowKey

__all__ = ["Beside", "MergedPart", "report_of"]


@dataclass
class MergedPart:
    """One version and segment of a window, merged over all source partitions. ``left_out`` of them could not be: their
    statistics were made with other settings."""

    version: str
    segment: str
    stats: InputStats | OutcomeStats
    sources: list[SourceRange]
    profile: ReferenceProfile
    late_rows: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class Beside:
    """What a report says that is not in the window's own statistics.

    ``trailing``: earlier outcome windows, oldest first, for rules over several. ``history``: earlier input windows, for
    data-quality checks. ``volume``: the verdict on the model's rows, for the serving version's report. ``groups``: the
    version's segments in this window, for the gaps between them. ``comparisons``: estimates beside what was realised.
    ``concept``: what the change detectors said. ``earlier``: finds the windows that references are made of.
    ``sliding``: this is a sliding window. ``coverage``: of which scores labels came in earlier outcome windows.
    """

    trailing: Sequence[OutcomeStats] = ()
    history: QualityHistory | None = None
    volume: Sequence[QualityReport] = ()
    groups: Mapping[str, OutcomeStats] | None = None
    comparisons: Sequence[EstimateComparison] = ()
    concept: Sequence[ConceptReport] = ()
    earlier: EarlierWindows | None = None
    sliding: SlidingPart | None = None
    coverage: CoverageHistory | None = None


def report_of(
    key: WindowKey,
    part: MergedPart,
    spec: ModelSpec,
    spec_digest: str,
    beside: Beside | None = None,
    *,
    status: str = "final",
) -> tuple[WindowReport, bytes]:
    """Judge the statistics of one version and segment. Returns the report and the encoded statistics.

    The report's digest is that of its content and the statistics, whatever its status.
    """
    beside = beside or Beside()
    sliding = beside.sliding
    frame = WindowReport(
        report_id=report_id_of(key, part.version, part.segment),
        model_id=key.model_id,
        model_version=part.version,
        kind=key.kind,
        segment=part.segment,
        window_start_ms=key.start_ms,
        window_end_ms=key.end_ms,
        status="final",
        rows=0,
        late_rows=part.late_rows,
        sources=part.sources,
        spec_digest=spec_digest,
        sliding="" if sliding is None else sliding.length,
        panes=0 if sliding is None else sliding.panes,
    )
    if isinstance(part.stats, InputStats):
        report = _of_inputs(frame, key, part, part.stats, spec, beside)
    else:
        report = _of_outcomes(frame, key, part, part.stats, spec, beside)
    if part.left_out:
        text = (
            f"{report.sentence} Of {part.left_out} source partitions the statistics are left out: the spec has changed."
        )
        report = msgspec.structs.replace(report, sentence=text)
    stats = part.stats.encode()
    digest = hashlib.sha256(msgspec.json.encode(report) + stats).hexdigest()
    return msgspec.structs.replace(report, content_digest=digest, status=status), stats


def _of_inputs(
    frame: WindowReport, key: WindowKey, part: MergedPart, stats: InputStats, spec: ModelSpec, beside: Beside
) -> WindowReport:
    pane = beside.sliding is None
    features = _features(key, part, stats, spec, beside)
    weights = importance_weights(spec, part.profile)
    estimated = judge_estimates(stats.estimates, part.profile.metrics, spec) if pane and stats.estimates else []
    # Samples and checks are those of all rows of a pane: wider windows repeat what their panes said.
    multivariate = judge_rows(stats, part.profile, spec) if pane and not part.segment else []
    quality = [*judge_quality(stats, spec, beside.history), *beside.volume] if pane and not part.segment else []
    decision, sentence = input_sentence(features, stats.rows, spec)
    sentence = " ".join([sentence, *(f"{known.sentence}." for known in estimated if known.decision == "drift")])
    sentence = with_rows_sentence(sentence, multivariate) + quality_sentence(quality)
    return msgspec.structs.replace(
        frame,
        rows=stats.rows,
        features=features,
        judged_features=sum(feature.decision in ("ok", "drift") for feature in features),
        drifted_features=sum(feature.decision == "drift" for feature in features),
        ranking=rank_features(features, weights, spec),
        drifted_importance=weighted_share(features, weights, spec),
        estimated=estimated,
        multivariate=multivariate,
        quality=quality,
        decision=decision,
        sentence=sentence,
    )


def _features(
    key: WindowKey, part: MergedPart, stats: InputStats, spec: ModelSpec, beside: Beside
) -> list[FeatureReport]:
    if beside.sliding is not None:
        return judge_inputs(stats, part.profile, spec, window_ms=key.end_ms - key.start_ms)
    references = earlier_references(key, (part.version, part.segment), spec, beside.earlier)
    return judge_by_references(stats, part.profile, spec, references)


def _of_outcomes(
    frame: WindowReport, key: WindowKey, part: MergedPart, stats: OutcomeStats, spec: ModelSpec, beside: Beside
) -> WindowReport:
    metrics = judge_outcomes(stats, beside.trailing, part.profile.metrics, spec)
    if beside.groups is not None:
        metrics += judge_fairness(beside.groups, spec)
    labels = None
    if beside.sliding is None:
        labels = label_report(stats, start_ms=key.start_ms, horizon_ms=spec.label_horizon_ms, watermark_ms=None)
    decision, sentence = with_concept(*outcome_sentence(metrics, stats.predicted, stats.labeled), beside.concept)
    quality: list[QualityReport] = []
    if beside.coverage is not None:
        found = judge_coverage(stats.bands, beside.coverage, spec.quality)
        quality = [] if found is None else [found]
        if found is not None and found.decision == "broken":
            sentence = f"{sentence} Labels come for other scores than before: {found.sentence}."
    return msgspec.structs.replace(
        frame,
        rows=stats.predicted,
        metrics=metrics,
        labeled_rows=stats.labeled,
        coverage=stats.coverage,
        delay_median_ms=stats.delay_quantile_ms(0.5),
        confusion=stats.confusion,
        comparisons=list(beside.comparisons),
        labels=labels,
        concept=list(beside.concept),
        quality=quality,
        decision=decision,
        sentence=sentence,
    )
