"""One sentence a person understands for each window."""

from __future__ import annotations

from driftloop.drift.references import reference_text
from driftloop.events.reports import Decision, FeatureReport, MetricReport, QualityReport
from driftloop.spec.model import DriftReference, ModelSpec

__all__ = ["input_sentence", "outcome_sentence", "quality_sentence"]


def input_sentence(features: list[FeatureReport], rows: int, spec: ModelSpec) -> tuple[Decision, str]:
    """The window's own decision (share of drifting features against the spec's bound) and its sentence."""
    judged = [feature for feature in features if feature.decision in ("ok", "drift")]
    if not judged and rows >= spec.minimum_rows and features:
        return "insufficient", f"None of {len(features)} features can be judged: {features[0].sentence}."
    if not judged:
        return "insufficient", f"{rows} rows are too few to judge (at least {spec.minimum_rows} are needed)."
    drifted = [feature for feature in judged if feature.decision == "drift"]
    share = len(drifted) / len(judged)
    if not drifted:
        return "ok", f"None of {len(judged)} features drifts."
    decision: Decision = "drift" if share >= spec.drift.share_of_features else "ok"
    names = ", ".join(feature.feature for feature in drifted[:4]) + (", ..." if len(drifted) > 4 else "")
    verb = "drifts" if len(drifted) == 1 else "drift"
    alike = " and in ".join(reference_text(reference) for reference in _alike(drifted, spec))
    usual = f", as in {alike}" if alike else ""
    return decision, f"{len(drifted)} of {len(judged)} features {verb}{usual}: {names}. {drifted[0].sentence}."


def _alike(drifted: list[FeatureReport], spec: ModelSpec) -> list[DriftReference]:
    """References that none of the drifting features differs from."""
    agreed = {
        reference.name
        for reference in spec.drift.references
        if all(
            any(verdict.reference == reference.name and verdict.decision == "ok" for verdict in feature.others)
            for feature in drifted
        )
    }
    return [reference for reference in spec.drift.references if reference.name in agreed]


def outcome_sentence(metrics: list[MetricReport], rows: int, labeled: int) -> tuple[Decision, str]:
    """The window's own decision (any rule's drop) and its sentence."""
    judged = [metric for metric in metrics if metric.decision != "info"]
    dropped = [metric for metric in judged if metric.decision == "drift"]
    coverage = f"{labeled} of {rows} predictions have their label."
    if dropped:
        return "drift", f"{dropped[0].sentence}. {coverage}"
    if judged and all(metric.decision == "insufficient" for metric in judged):
        return "insufficient", f"No rule can decide: {judged[0].sentence}. {coverage}"
    return "ok", coverage


def quality_sentence(quality: list[QualityReport]) -> str:
    """What is added about data quality; nothing if no check is broken."""
    broken = [check for check in quality if check.decision == "broken"]
    if not broken:
        return ""
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    return f" The data is broken: {broken[0].sentence}{more}."
