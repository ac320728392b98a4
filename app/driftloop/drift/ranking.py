"""Which features' changes matter: drift weighed with how much the model relies on a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from driftloop.events.reports import FeatureRank, FeatureReport
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.derived import parent_of
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec

__all__ = ["RANKED", "importance_weights", "rank_features", "weighted_share"]

#: Features that a report ranks.
RANKED = 10


def importance_weights(spec: ModelSpec, profile: ReferenceProfile) -> dict[str, float]:
    """Importance by feature: the spec's where it gives one for any feature (0 for the others), else that measured when
    the version was trained. Empty if none is known."""
    given = {name: feature.importance for name, feature in spec.features.items() if feature.importance is not None}
    if given:
        return {name: given.get(name, 0.0) for name in spec.features}
    return {name: profile.importances[name] for name in spec.features if name in profile.importances}


def rank_features(
    features: Sequence[FeatureReport], weights: Mapping[str, float], spec: ModelSpec
) -> list[FeatureRank]:
    """The judged features by weight times drift, the largest first, at most :data:`RANKED`, without those of score 0.

    Drift is the largest statistic of a feature in units of its threshold, 0 where the change is not significant: noise
    of a small window must not outrank a change.
    """
    judged = [feature for feature in features if _counts(feature)]
    shares = _shares(judged, weights, spec)
    ranks = []
    for feature, weight in zip(judged, shares, strict=True):
        drift = _drift(feature, spec)
        ranks.append(FeatureRank(feature=feature.feature, weight=weight, drift=drift, score=weight * drift))
    ranked = sorted((rank for rank in ranks if rank.score > 0.0), key=lambda rank: (-rank.score, rank.feature))
    return ranked[:RANKED]


def weighted_share(features: Sequence[FeatureReport], weights: Mapping[str, float], spec: ModelSpec) -> float | None:
    """The share of the judged features' importance that the drifting ones have. None without importance or features."""
    judged = [feature for feature in features if _counts(feature)]
    if not judged or not sum(weights.values()):
        return None
    shares = _shares(judged, weights, spec)
    drifting = (share for feature, share in zip(judged, shares, strict=True) if feature.decision == "drift")
    return min(sum(drifting), 1.0)


def _counts(feature: FeatureReport) -> bool:
    return feature.decision in ("ok", "drift") and feature.feature != PREDICTION


def _shares(judged: Sequence[FeatureReport], weights: Mapping[str, float], spec: ModelSpec) -> list[float]:
    """Weights that add up to 1; columns made from one feature divide its weight among them."""
    parents = [parent_of(feature.feature, spec) for feature in judged]
    known = bool(sum(weights.values()))
    raw = [(weights.get(name, 0.0) if known else 1.0) / parents.count(name) for name in parents]
    total = sum(raw)
    return [value / total if total else 0.0 for value in raw]


def _drift(feature: FeatureReport, spec: ModelSpec) -> float:
    p_value = feature.adjusted_p_value
    significant = p_value is not None and p_value < spec.drift.significance
    ratios = [
        result.statistic / result.threshold
        for result in feature.results
        if result.statistic is not None
        and result.threshold
        and (feature.decision == "drift" if result.method in ("missing", "unseen") else significant)
    ]
    return max(ratios, default=0.0)
