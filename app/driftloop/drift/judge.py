"""The one decision about each feature of a window, used live and in replay.

A feature drifts if an effect is large enough *and* significant after correction for the window's features: large
windows make everything significant, small ones make every distance large. Three families are corrected each on its
own: distributions, missing values, unseen categories.
"""

from __future__ import annotations

from msgspec import structs

from driftloop.drift.measure import Measurement, Rate, measure_feature
from driftloop.drift.multiple_testing import CORRECTIONS
from driftloop.drift.sentences import change_text, evidence_text, feature_text, missing_text, unseen_text
from driftloop.drift.thresholds import with_thresholds
from driftloop.events.reports import Decision, FeatureReport, MethodResult
from driftloop.profiles.categorical import CategoricalSummary
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.derived import judged_kinds
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.numeric import NumericReference, NumericSummary
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import DriftRules, ModelSpec

__all__ = ["judge_inputs"]


def judge_inputs(
    stats: InputStats, profile: ReferenceProfile, spec: ModelSpec, *, window_ms: int | None = None
) -> list[FeatureReport]:
    """A report for each feature in the order of the spec, and last for :data:`PREDICTION` if the profile has it.

    With fewer than ``spec.minimum_rows`` rows in the window everything is ``insufficient`` and no statistic is given;
    with fewer usable values of one feature its missing rate alone is judged. ``rows`` of a report are usable values,
    ``missing`` counts missing and infinite ones. ``adjusted_p_value`` is the corrected p-value of the companion test.
    ``severity`` of a result says that this is what makes the feature drift. ``window_ms``: the window's length where it
    is not the spec's (a sliding window). Raises ``ValueError`` if the statistics were counted against another profile.
    """
    if stats.profile is not profile and stats.profile.digest() != profile.digest():
        raise ValueError(
            f"the statistics of model {spec.model!r} were counted against the reference of version "
            f"{stats.profile.model_version!r}, not of {profile.model_version!r}"
        )
    kinds: dict[str, str] = judged_kinds(spec)
    if PREDICTION in profile.features:
        kinds[PREDICTION] = "categorical" if spec.task in ("multiclass", "ranking") else "numeric"
    obstacles = {name: _obstacle(name, kind, stats, spec) for name, kind in kinds.items()}
    measured = {
        name: with_thresholds(
            measure_feature(name, stats.features[name], stats.rows, spec.minimum_rows, spec.drift),
            stats.features[name],
            spec.drift,
            profile,
            spec.window_ms if window_ms is None else window_ms,
        )
        for name, obstacle in obstacles.items()
        if obstacle is None
    }
    distribution = _adjust(spec, {name: m.p_value for name, m in measured.items()})
    missing = _adjust(spec, {name: m.missing.p_value for name, m in measured.items()})
    unseen = _adjust(spec, {name: m.unseen.p_value if m.unseen else None for name, m in measured.items()})
    reports = []
    for name, kind in kinds.items():
        obstacle = obstacles[name]
        if obstacle is None:
            reports.append(
                _report(
                    measured[name],
                    stats.features[name],
                    spec,
                    adjusted=distribution.get(name),
                    adjusted_missing=missing.get(name, 1.0),
                    adjusted_unseen=unseen.get(name, 1.0),
                )
            )
        else:
            reports.append(_unjudged(name, kind, stats, obstacle))
    return reports


def _obstacle(name: str, kind: str, stats: InputStats, spec: ModelSpec) -> str | None:
    """Why the feature cannot be judged at all."""
    text = feature_text(name)
    reference = stats.profile.features.get(name)
    version = stats.profile.model_version
    remedy = "it can be judged once a version is registered with the present spec"
    if reference is None:
        return f"the reference of version {version} does not know {text}: {remedy}"
    if isinstance(reference, NumericReference) != (kind == "numeric"):
        return f"{text} is {kind} in the spec but not in the reference of version {version}: {remedy}"
    if stats.rows < spec.minimum_rows:
        return f"too few rows to judge {text}: {stats.rows:,}, at least {spec.minimum_rows:,} are needed"
    return None


def _unjudged(name: str, kind: str, stats: InputStats, obstacle: str) -> FeatureReport:
    summary = stats.features.get(name)
    fits = summary is not None and isinstance(summary, NumericSummary) == (kind == "numeric")
    return FeatureReport(
        feature=name,
        kind=kind,
        rows=summary.rows if summary is not None and fits else 0,
        missing=_missing(summary) if summary is not None and fits else 0,
        reference_rows=summary.reference.rows if summary is not None and fits else 0,
        results=[],
        decision="insufficient",
        sentence=obstacle,
        unseen=summary.unseen if isinstance(summary, CategoricalSummary) and fits else 0,
    )


def _adjust(spec: ModelSpec, p_values: dict[str, float | None]) -> dict[str, float]:
    known = {name: p_value for name, p_value in p_values.items() if p_value is not None}
    correct = CORRECTIONS[spec.drift.correction]
    return dict(zip(known, correct(list(known.values())), strict=True))


def _report(
    measured: Measurement,
    summary: NumericSummary | CategoricalSummary,
    spec: ModelSpec,
    *,
    adjusted: float | None,
    adjusted_missing: float,
    adjusted_unseen: float,
) -> FeatureReport:
    rules = spec.drift
    exceeded = any(result.exceeded for result in measured.distances)
    significant = adjusted is not None and adjusted < rules.significance
    distances = [_decided(result, significant) for result in measured.distances]
    missing = _decided(
        _rate_result("missing", measured.missing, rules.missing, rules), adjusted_missing < rules.significance
    )
    results = [*distances, missing]
    reasons = []
    if any(result.severity for result in distances):
        reasons.append(f"{change_text(measured.feature, summary)} ({evidence_text(distances, adjusted)})")
    if missing.severity:
        reasons.append(missing_text(measured, summary.infinite if isinstance(summary, NumericSummary) else 0))
    if measured.unseen is not None:
        unseen = _decided(
            _rate_result("unseen", measured.unseen, rules.unseen, rules), adjusted_unseen < rules.significance
        )
        results.append(unseen)
        if unseen.severity and isinstance(summary, CategoricalSummary):
            reasons.append(unseen_text(measured, summary))
    decision: Decision = "ok"
    if reasons:
        decision, sentence = "drift", "; ".join(reasons)
    elif adjusted is None:
        decision, sentence = "insufficient", _too_few_values(measured, spec)
    else:
        sentence = _quiet(measured, adjusted, exceeded=exceeded, significant=significant)
    return FeatureReport(
        feature=measured.feature,
        kind=measured.kind,
        rows=measured.rows,
        missing=measured.missing.hits,
        reference_rows=measured.reference_rows,
        results=results,
        decision=decision,
        sentence=sentence,
        adjusted_p_value=adjusted,
        unseen=measured.unseen.hits if measured.unseen else 0,
        mean=measured.mean,
        reference_mean=measured.reference_mean,
    )


def _rate_result(method: str, rate: Rate, threshold: float, rules: DriftRules) -> MethodResult:
    return MethodResult(
        method=method,
        statistic=rate.increase,
        threshold=threshold,
        p_value=rate.p_value,
        exceeded=rate.increase >= threshold,
        critical=None if rules.critical_times is None else threshold * rules.critical_times,
    )


def _decided(result: MethodResult, significant: bool) -> MethodResult:
    """The one place in which a statistic becomes a decision: reports, alerts and policy read it off."""
    if not (result.exceeded and significant):
        return result
    beyond = result.critical is not None and result.statistic is not None and result.statistic >= result.critical
    return structs.replace(result, severity="critical" if beyond else "warning")


def _too_few_values(measured: Measurement, spec: ModelSpec) -> str:
    name = feature_text(measured.feature)
    if not measured.reference_rows:
        return f"the reference has no values of {name} to compare with"
    return f"too few values to judge {name}: {measured.rows:,}, at least {spec.minimum_rows:,} are needed"


def _quiet(measured: Measurement, adjusted: float, *, exceeded: bool, significant: bool) -> str:
    name = feature_text(measured.feature)
    if exceeded:
        evidence = evidence_text(measured.distances, adjusted)
        return (
            f"{name} differs from the reference, but {measured.rows:,} values do not tell it from chance ({evidence})"
        )
    if significant:
        return f"{name} differs measurably from the reference, but by less than any threshold"
    return f"{name} is like the reference"


def _missing(summary: NumericSummary | CategoricalSummary) -> int:
    return summary.missing + (summary.infinite if isinstance(summary, NumericSummary) else 0)
