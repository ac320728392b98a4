"""Ranking by importance and drift."""

from __future__ import annotations

import pytest

from driftloop.drift.ranking import importance_weights, rank_features, weighted_share
from driftloop.events.reports import Decision, FeatureReport, MethodResult
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import parse_spec

SPEC = parse_spec(
    "{model: m, task: binary, features: {a: {kind: numeric}, b: {kind: numeric}, c: {kind: numeric}, t: {kind: text}}}"
)
PROFILE = ReferenceProfile(
    model_id="m", model_version="v1", features={}, rows=1, importances={"a": 0.3, "b": 0.1, "c": 0.0}
)


def feature(
    name: str, statistic: float, *, decision: Decision = "drift", p_value: float = 1e-6, missing: float = 0.0
) -> FeatureReport:
    return FeatureReport(
        feature=name,
        kind="numeric",
        rows=500,
        missing=0,
        reference_rows=1_000,
        results=[
            MethodResult(method="ks", statistic=0.9, threshold=None),
            MethodResult(method="wasserstein", statistic=statistic, threshold=0.25, exceeded=statistic >= 0.25),
            MethodResult(method="missing", statistic=missing, threshold=0.1, exceeded=missing >= 0.1),
        ],
        decision=decision,
        sentence="",
        adjusted_p_value=p_value,
    )


def test_weight_times_drift_decides_the_order() -> None:
    weights = importance_weights(SPEC, PROFILE)
    features = [feature("a", 0.5), feature("b", 2.0), feature("c", 9.0), feature("@prediction", 9.0)]
    ranks = rank_features(features, weights, SPEC)
    assert [rank.feature for rank in ranks] == ["b", "a"]
    assert [rank.weight for rank in ranks] == pytest.approx([0.25, 0.75])
    assert [rank.drift for rank in ranks] == pytest.approx([8.0, 2.0])
    assert [rank.score for rank in ranks] == pytest.approx([2.0, 1.5])


def test_noise_does_not_outrank_a_change() -> None:
    features = [feature("a", 3.0, decision="ok", p_value=0.3), feature("b", 0.3)]
    assert [rank.feature for rank in rank_features(features, {"a": 1.0, "b": 1.0}, SPEC)] == ["b"]


def test_missing_values_count_as_drift() -> None:
    ranks = rank_features([feature("a", 0.1, p_value=0.5, missing=0.4)], {"a": 1.0}, SPEC)
    assert ranks[0].drift == pytest.approx(4.0)


def test_without_importances_all_weigh_the_same_and_there_is_no_weighted_share() -> None:
    features = [feature("a", 0.5), feature("b", 1.0, decision="ok", p_value=0.5), feature("t#length", 1.0)]
    ranks = rank_features(features, {}, SPEC)
    assert [rank.weight for rank in ranks] == pytest.approx([1 / 3, 1 / 3])
    assert weighted_share(features, {}, SPEC) is None


def test_the_weighted_share_and_columns_of_one_feature() -> None:
    features = [
        feature("a", 0.5),
        feature("b", 0.1, decision="ok", p_value=0.5),
        feature("t#length", 1.0),
        feature("t#unknown_words", 0.1, decision="ok", p_value=0.9),
        feature("c", 1.0, decision="insufficient"),
    ]
    weights = {"a": 1.0, "b": 1.0, "t": 2.0, "c": 10.0}
    assert weighted_share(features, weights, SPEC) == pytest.approx(0.5)
    assert weighted_share([], weights, SPEC) is None


def test_the_spec_overrules_what_was_measured() -> None:
    spec = parse_spec("{model: m, task: binary, features: {a: {kind: numeric, importance: 5}, b: {kind: numeric}}}")
    assert importance_weights(spec, PROFILE) == {"a": 5.0, "b": 0.0}
    assert importance_weights(SPEC, PROFILE) == {"a": 0.3, "b": 0.1, "c": 0.0}
