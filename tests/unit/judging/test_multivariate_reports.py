"""From events to reports on sampled rows: the same for any split, with alerts, a ranking and a weighted trigger."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from driftloop.events.messages import SourceRange
from driftloop.events.reports import WindowReport
from driftloop.judging.report import MergedPart, report_of
from driftloop.judging.signals import signals_from_report
from driftloop.multivariate.judge import judge_rows
from driftloop.policy.retrain import PolicyState, decide
from driftloop.profiles.columns import Columns, select_rows
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from driftloop.windows.assembly import WindowKey

TEXT = """
model: m
task: binary
features:
  a: {kind: numeric, importance: 3}
  b: {kind: numeric, importance: 1}
  place: {kind: categorical}
  embedding: {kind: vector, length: 6}
  comment: {kind: text}
segments: [place]
drift:
  multivariate:
    sample_rows: 300
    methods:
      - {method: domain_classifier, threshold: 0.6}
      - {method: pca_reconstruction, threshold: 0.3}
      - {method: mmd, threshold: 0.1}
      - {method: correlation_change, threshold: 0.3}
policy: {triggers: [{on: drift, share_weighted: 0.6}]}
"""
SPEC = parse_spec(TEXT)
KEY = WindowKey(86_400_000, 0, "m", "input")
SOURCE = SourceRange(partition=0, predictions_first=0, predictions_end=1)


def make_columns(rows: int, seed: int, *, drift: bool = False) -> Columns:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    b = rng.normal(size=rows) if drift else 0.9 * a + np.sqrt(1 - 0.81) * rng.normal(size=rows)
    vectors = rng.normal(size=(rows, 6))
    if drift:
        vectors[:, :2] += 0.9
    word = ["late", "gate", "crew", "strike" if drift else "rain"]
    return {
        "a": a,
        "b": b,
        "place": ["uv"[at] for at in rng.integers(0, 2, rows)],
        "embedding": vectors,
        "comment": [" ".join(rng.choice(word, 4)) for _ in range(rows)],
    }


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    return ReferenceProfile.build(SPEC, make_columns(2_000, 1), model_version="v1")


def report_on(profile: ReferenceProfile, stats: InputStats, segment: str = "", spec: ModelSpec = SPEC) -> WindowReport:
    part = MergedPart("v1", segment, stats, [SOURCE], profile.for_segment(segment))
    return report_of(KEY, part, spec, "digest")[0]


def stats_of(profile: ReferenceProfile, columns: Columns, cuts: list[int]) -> InputStats:
    """Counted in parts that cross the wire, merged backwards."""
    rows = len(columns["a"])
    bounds = [0, *cuts, rows]
    total = InputStats(profile)
    for start, end in list(itertools.pairwise(bounds))[::-1]:
        part = InputStats(profile)
        members = list(range(start, end))
        part.update(select_rows(columns, members), len(members), [f"p{at}" for at in members])
        total.merge(InputStats.decode(part.encode(), profile))
    return total


@pytest.fixture(scope="module")
def drifted(profile: ReferenceProfile) -> WindowReport:
    return report_on(profile, stats_of(profile, make_columns(700, 2, drift=True), []))


def test_no_split_changes_a_bit_of_the_report(profile: ReferenceProfile, drifted: WindowReport) -> None:
    columns = make_columns(700, 2, drift=True)
    for cuts in ([1, 350], [100, 200, 300, 699]):
        again = report_on(profile, stats_of(profile, columns, cuts))
        assert msgspec.json.encode(again) == msgspec.json.encode(drifted)


def test_each_kind_of_change_is_found_by_its_methods(drifted: WindowReport) -> None:
    found = {(result.subject, result.method): result for result in drifted.multivariate}
    assert len(found) == 4 + 3 + 1
    for key in (
        ("", "domain_classifier"),
        ("", "pca_reconstruction"),
        ("", "correlation_change"),
        ("embedding", "domain_classifier"),
        ("embedding", "mmd"),
        ("embedding", "centroid_shift"),
        ("comment", "domain_classifier"),
    ):
        result = found[key]
        assert result.decision == "drift", result
        assert result.statistic is not None
        assert result.threshold is not None
        assert result.statistic >= result.threshold
        assert result.adjusted_p_value is not None
        assert result.adjusted_p_value < SPEC.drift.significance
        assert (result.rows, result.reference_rows) == (300, 600)
        assert "threshold" in result.sentence
    assert "a and b" in found["", "correlation_change"].sentence
    assert "Of sampled rows" in drifted.sentence
    assert [feature.feature for feature in drifted.features] == [
        "a", "b", "place", "embedding#norm", "comment#length", "comment#unknown_words",
    ]  # fmt: skip
    assert {feature.feature for feature in drifted.features if feature.decision == "drift"} >= {"comment#unknown_words"}


def test_a_window_like_the_reference_is_quiet(profile: ReferenceProfile) -> None:
    report = report_on(profile, stats_of(profile, make_columns(700, 3), []))
    assert {result.decision for result in report.multivariate} == {"ok"}
    assert "sampled" not in report.sentence
    assert report.ranking == []
    assert report.drifted_importance == 0.0


def test_a_large_effect_that_is_not_significant_does_not_decide(profile: ReferenceProfile) -> None:
    strict = msgspec.structs.replace(SPEC.drift, significance=1e-300)
    spec = msgspec.structs.replace(SPEC, drift=strict)
    stats = stats_of(profile, make_columns(700, 2, drift=True), [])
    assert {result.decision for result in judge_rows(stats, profile, spec)} <= {"ok"}
    assert any((r.statistic or 0) >= (r.threshold or 9) for r in judge_rows(stats, profile, spec))


def test_alerts_have_subjects_of_their_own(drifted: WindowReport) -> None:
    signals = {signal.subject: signal for signal in signals_from_report(drifted, SPEC.drift)}
    assert signals["@multivariate/domain_classifier"].bad is True
    assert signals["embedding/mmd"].bad is True
    assert signals["embedding/mmd"].kind == "drift"
    assert signals["@multivariate/domain_classifier"].method == "domain_classifier"
    assert "features" in signals


def test_too_few_rows_and_old_versions_are_insufficient(profile: ReferenceProfile) -> None:
    few = report_on(profile, stats_of(profile, make_columns(80, 4), []))
    assert {result.decision for result in few.multivariate} == {"insufficient"}
    assert "at least 100 are needed" in few.multivariate[0].sentence
    old = msgspec.structs.replace(profile, sample=None)
    stats = InputStats(old)
    stats.update(make_columns(300, 5), 300, [str(at) for at in range(300)])
    results = judge_rows(stats, old, SPEC)
    assert {result.decision for result in results} == {"insufficient"}
    assert "registered with the present spec" in results[0].sentence
    assert all(
        signal.bad is None for signal in signals_from_report(few, SPEC.drift) if signal.subject.startswith("@multi")
    )


def test_segments_are_not_sampled(profile: ReferenceProfile) -> None:
    segment = profile.for_segment("place=u")
    stats = InputStats(segment)
    stats.update(make_columns(300, 6), 300)
    assert report_on(profile, stats, "place=u").multivariate == []


def test_specs_without_methods_report_nothing_and_carry_no_sample() -> None:
    spec = parse_spec("{model: m, task: binary, features: {a: {kind: numeric}, b: {kind: numeric}}}")
    columns = make_columns(300, 7)
    profile = ReferenceProfile.build(spec, columns, model_version="v1")
    stats = InputStats(profile)
    stats.update(columns, 300, [str(at) for at in range(300)])
    report = report_on(profile, stats, spec=spec)
    assert report.multivariate == []
    assert report.drifted_importance is None


def test_the_trigger_weighs_features_by_importance(profile: ReferenceProfile) -> None:
    """Only the feature with three quarters of the importance drifts: one of six, and 0.75 of the weight."""
    columns = dict(make_columns(700, 8))
    columns["a"] = np.asarray(columns["a"]) + 1.0
    report = report_on(profile, stats_of(profile, columns, []))
    assert [feature.feature for feature in report.features if feature.decision == "drift"] == ["a"]
    assert report.drifted_importance == pytest.approx(0.75)
    assert report.ranking[0].feature == "a"
    assert report.decision == "ok", "one of six is below the share of features"
    state, _, _ = decide(SPEC, PolicyState(), report, champion_version="v1", labeled_rows_since=0)
    assert state.streaks == {"drift": 1}
    plain = parse_spec(TEXT.replace("share_weighted: 0.6", "share: 0.6"))
    state, _, _ = decide(plain, PolicyState(), report, champion_version="v1", labeled_rows_since=0)
    assert state.streaks.get("drift", 0) == 0
