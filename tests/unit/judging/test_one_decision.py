"""One number never decides twice differently: report, alert and policy agree about every window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftloop.events.reports import WindowReport
from driftloop.judging.assess import Judged, judge_window
from driftloop.judging.report import MergedPart
from driftloop.judging.signals import signals_from_report
from driftloop.judging.state import ModelState
from driftloop.monitoring.catalog import new_outcomes
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.inputs import InputStats
from driftloop.profiles.reference import MetricReference, ReferenceProfile
from driftloop.spec.concept import ConceptRules
from driftloop.spec.model import (
    AlertRules,
    DriftMethod,
    DriftRules,
    FeatureSpec,
    ModelSpec,
    PerformanceRule,
    PerformanceRules,
    ThresholdRule,
)
from driftloop.spec.policy import PolicySpec, TriggerSpec
from driftloop.windows.assembly import WindowKey

DAY = 86_400_000
SPEC = ModelSpec(
    model="m",
    task="binary",
    features={
        "temp": FeatureSpec(kind="numeric"),
        "rain": FeatureSpec(kind="numeric"),
        "gate": FeatureSpec(kind="categorical"),
    },
    minimum_rows=30,
    label_horizon="1d",
)


def columns(rows: int, random: np.random.Generator) -> dict[str, Any]:
    return {
        "temp": random.normal(50, 10, rows),
        "rain": np.where(random.random(rows) < 0.8, 0.0, random.exponential(size=rows)),
        "gate": list(random.choice(["A", "B", "C"], rows)),
        PREDICTION: random.random(rows),
    }


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    reference = MetricReference(value=0.8, low=0.79, high=0.81, rows=2000)
    given = columns(2_000, np.random.default_rng(0))
    return ReferenceProfile.build(SPEC, given, model_version="v1", metrics={"roc_auc": reference}, label_mean=0.5)


rules = st.builds(
    lambda thresholds, significance, correction, share, critical, missing: DriftRules(
        numeric=[DriftMethod(method="wasserstein", threshold=thresholds[0]), DriftMethod(method="ks", threshold=0.2)],
        categorical=[DriftMethod(method="jensen_shannon", threshold=thresholds[1])],
        significance=significance,
        correction=correction,
        share_of_features=share,
        critical_times=critical,
        missing=missing,
    ),
    st.sampled_from([(0.25, 0.1), (0.05, 0.02), (ThresholdRule(false_alarms=0.1), ThresholdRule(spread=2))]),
    st.sampled_from([0.001, 0.05, 0.5]),
    st.sampled_from(["benjamini-hochberg", "bonferroni", "none"]),
    st.sampled_from([0.01, 0.25, 0.3, 0.5, 1.0]),
    st.sampled_from([None, 1.0, 1.5, 3.0]),
    st.sampled_from([0.02, 0.1]),
)
windows = st.fixed_dictionaries(
    {
        "rows": st.sampled_from([10, 40, 150]),
        "seed": st.integers(0, 10_000),
        "shift": st.sampled_from([0.0, 2.0, 4.0, 15.0]),
        "missing": st.sampled_from([0.0, 0.04, 0.15, 1.0]),
        "unseen": st.sampled_from([0.0, 0.03, 0.3]),
    }
)


def window_of(profile: ReferenceProfile, window: dict[str, Any]) -> InputStats:
    random = np.random.default_rng(window["seed"])
    rows = window["rows"]
    given = columns(rows, random)
    given["temp"] = given["temp"] + window["shift"]
    given["rain"] = np.where(random.random(rows) < window["missing"], np.nan, given["rain"])
    given["gate"] = ["new" if random.random() < window["unseen"] else gate for gate in given["gate"]]
    stats = InputStats(profile)
    stats.update(given, rows)
    return stats


def judge(
    profile: ReferenceProfile, spec: ModelSpec, stats: Any, kind: Any, state: ModelState
) -> tuple[WindowReport, Judged]:
    key = WindowKey(DAY, 0, "m", kind)
    judged = judge_window(key, [MergedPart("v1", "", stats, [], profile)], state, spec, "digest")
    return judged.reports[0][0], judged


@settings(max_examples=150, deadline=None)
@given(window=windows, drift=rules)
def test_inputs(profile: ReferenceProfile, window: dict[str, Any], drift: DriftRules) -> None:
    trigger = TriggerSpec(on="drift", share=drift.share_of_features)
    spec = structs.replace(
        SPEC,
        drift=drift,
        alerts=AlertRules(),
        policy=PolicySpec(triggers=[trigger], minimum_labeled_rows=1, hold_on_broken_data=False),
    )
    state = ModelState()
    report, judged = judge(profile, spec, window_of(profile, window), "input", state)
    bad: dict[str, bool] = {}
    severities: dict[tuple[str, str], str] = {}
    for signal in signals_from_report(report, spec.drift):
        if signal.bad:
            severities[signal.kind, signal.subject] = signal.severity
        if signal.kind == "data_quality" and not signal.subject.endswith(("/missing", "/unseen")):
            continue  # a check of its own, with a decision of its own
        feature = signal.subject.split("/")[0]
        bad[feature] = bad.get(feature, False) or bool(signal.bad)
    for feature in report.features:
        decided = [result for result in feature.results if result.severity is not None]
        assert (feature.decision == "drift") == bool(decided) == bad[feature.feature], feature
        for result in decided:
            assert result.exceeded
            assert result.statistic is not None
            assert result.threshold is not None
            assert result.statistic >= result.threshold
            beyond = result.critical is not None and result.statistic >= result.critical
            assert (result.severity == "critical") == beyond
    drifted = sum(feature.decision == "drift" for feature in report.features)
    assert report.drifted_features == drifted
    assert report.judged_features == sum(feature.decision in ("ok", "drift") for feature in report.features)
    assert (report.decision == "drift") == bad.get("features", False)
    assert {(alert.kind, alert.subject): alert.severity for alert in judged.alerts} == severities
    assert all(alert.state == "opened" for alert in judged.alerts)
    # The policy hears of the window with the next outcome window.
    _, later = judge(profile, spec, outcomes(profile, 50, 0.0, 1), "outcome", state)
    assert bool(later.commands) == (report.decision == "drift")


def outcomes(profile: ReferenceProfile, rows: int, noise: float, seed: int) -> Any:
    random = np.random.default_rng(seed)
    scores = random.random(rows)
    truth = np.where(random.random(rows) < noise, random.random(rows), scores)
    stats = new_outcomes(SPEC, profile)
    offsets_ms = np.arange(rows, dtype=np.int64)
    stats.add_predicted(rows, offsets_ms)
    stats.update(scores, (truth > random.random(rows)).astype(np.int64), np.full(rows, 60_000), offsets_ms=offsets_ms)
    return stats


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sampled_from([10, 60, 400]),
    noise=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
    seed=st.integers(0, 1000),
    drop=st.sampled_from([0.02, 0.1]),
    critical=st.sampled_from([None, 0.1, 0.25]),
)
def test_outcomes(
    profile: ReferenceProfile, rows: int, noise: float, seed: int, drop: float, critical: float | None
) -> None:
    rule = PerformanceRule(metric="roc_auc", drop=drop, critical=critical)
    spec = structs.replace(
        SPEC,
        performance=PerformanceRules(rules=[rule]),
        concept=ConceptRules(detectors=[]),  # their drift would be the window's, too
        policy=PolicySpec(triggers=[TriggerSpec(on="performance")], minimum_labeled_rows=1),
    )
    report, judged = judge(profile, spec, outcomes(profile, rows, noise, seed), "outcome", ModelState())
    metric = next(metric for metric in report.metrics if metric.decision != "info")
    drifts = metric.decision == "drift"
    assert (report.decision == "drift") == drifts
    assert (metric.severity is not None) == drifts
    signals = signals_from_report(report, spec.drift)
    assert [signal.bad for signal in signals] == [None if metric.decision == "insufficient" else drifts]
    assert [(alert.subject, alert.severity) for alert in judged.alerts] == (
        [("roc_auc", metric.severity)] if drifts else []
    )
    if drifts and critical is not None:
        assert metric.value is not None
        assert (metric.severity == "critical") == (0.8 - metric.value >= critical)
    assert bool(judged.commands) == drifts
