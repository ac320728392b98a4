"""When a drop in realised performance counts, and what the reports say."""

from __future__ import annotations

import numpy as np
import pytest

from driftloop.events.reports import MetricReport
from driftloop.performance.judge import judge_outcomes
from driftloop.performance.outcomes import OutcomeStats
from driftloop.profiles.reference import MetricReference
from driftloop.spec.basics import Task
from driftloop.spec.metrics import DEFAULT_METRICS
from driftloop.spec.model import FeatureSpec, ModelSpec, PerformanceRule, PerformanceRules


def spec(*rules: PerformanceRule, task: Task = "binary", minimum_rows: int = 100) -> ModelSpec:
    return ModelSpec(
        model="m",
        task=task,
        features={"x": FeatureSpec(kind="numeric")},
        minimum_rows=minimum_rows,
        performance=PerformanceRules(rules=list(rules)),
    )


def window(accuracy: float, rows: int = 1000) -> OutcomeStats:
    """Scores of 0.9 and 0.1 of which the given share is right."""
    stats = OutcomeStats("binary")
    labels = np.arange(rows) % 2
    right = np.arange(rows) < round(accuracy * rows)
    scores = np.where((labels == 1) == right, 0.9, 0.1)
    stats.add_predicted(rows)
    stats.update(scores, labels, np.full(rows, 60_000))
    return stats


def by_name(reports: list[MetricReport]) -> dict[str, MetricReport]:
    named = {report.metric: report for report in reports}
    assert len(named) == len(reports)
    return named


ACCURACY = {"accuracy": MetricReference(value=0.8, rows=5000)}


def test_the_usual_metrics_are_reported_without_any_rule() -> None:
    reports = judge_outcomes(window(0.8), [], ACCURACY, spec())
    assert [report.metric for report in reports] == list(DEFAULT_METRICS["binary"])
    assert {report.decision for report in reports} == {"info"}
    assert by_name(reports)["accuracy"].reference == 0.8
    assert by_name(reports)["brier"].reference is None


@pytest.mark.parametrize(
    ("accuracy", "rows", "decision"),
    [
        (0.80, 1000, "ok"),
        (0.76, 1000, "ok"),  # significant, but less than the drop
        (0.74, 1000, "drift"),
        (0.95, 1000, "ok"),  # better
        (0.74, 120, "ok"),  # beyond the drop, but not significant with so few rows
        (0.50, 120, "drift"),
        (0.50, 99, "insufficient"),
    ],
)
def test_a_drop_must_be_large_and_significant(accuracy: float, rows: int, decision: str) -> None:
    rule = PerformanceRule(metric="accuracy", drop=0.05)
    reports = by_name(judge_outcomes(window(accuracy, rows), [], ACCURACY, spec(rule)))
    assert len(reports) == len(DEFAULT_METRICS["binary"])  # the rule's report takes the place of the plain one
    assert reports["accuracy"].decision == decision
    if decision != "insufficient":
        assert reports["accuracy"].threshold == pytest.approx(0.75)
        assert reports["accuracy"].rows == rows
    if decision == "drift":
        assert "worse by" in reports["accuracy"].sentence


def test_an_uncertain_reference_is_no_ground_for_a_verdict() -> None:
    rule = PerformanceRule(metric="accuracy", drop=0.05)
    small = {"accuracy": MetricReference(value=0.8, low=0.7, high=0.87, rows=80)}
    assert by_name(judge_outcomes(window(0.74), [], small, spec(rule)))["accuracy"].decision == "ok"
    assert by_name(judge_outcomes(window(0.6), [], small, spec(rule)))["accuracy"].decision == "drift"


def test_a_rule_over_windows_merges_the_last_ones() -> None:
    rule = PerformanceRule(metric="accuracy", drop=0.05, windows=3)
    trailing = [window(0.2), window(0.8, 500), window(0.7, 500)]
    reports = by_name(judge_outcomes(window(0.66), trailing, ACCURACY, spec(rule)))
    assert reports["accuracy"].decision == "info"
    assert reports["accuracy@3"].value == pytest.approx((0.66 * 1000 + 0.8 * 500 + 0.7 * 500) / 2000)
    assert reports["accuracy@3"].rows == 2000
    assert reports["accuracy@3"].decision == "drift"
    assert trailing[1].labeled == 500  # nothing handed in has changed
    early = by_name(judge_outcomes(window(0.1), trailing[:1], ACCURACY, spec(rule)))["accuracy@3"]
    assert early.decision == "insufficient"
    assert "2 of 3 windows" in early.sentence


def test_a_relative_drop_and_a_metric_where_lower_is_better() -> None:
    reference = {"brier": MetricReference(value=0.16, rows=5000)}
    rule = PerformanceRule(metric="brier", drop=0.25, relative=True)
    report = by_name(judge_outcomes(window(0.74), [], reference, spec(rule)))["brier"]
    assert report.threshold == pytest.approx(0.2)
    assert report.decision == "drift"
    better = by_name(judge_outcomes(window(0.95), [], reference, spec(rule)))["brier"]
    assert better.decision == "ok"


@pytest.mark.parametrize(("shift", "decision"), [(0.0, "ok"), (6.0, "drift"), (-6.0, "drift")])
def test_a_metric_without_direction_counts_either_way(shift: float, decision: str) -> None:
    stats = OutcomeStats("regression")
    labels = np.random.default_rng(0).normal(0.0, 3.0, 400)
    stats.update(labels + shift, labels, np.zeros(400, np.int64))
    rule = PerformanceRule(metric="bias", drop=5.0)
    reference = {"bias": MetricReference(value=0.0)}
    report = by_name(judge_outcomes(stats, [], reference, spec(rule, task="regression")))["bias"]
    assert report.decision == decision


def test_what_cannot_be_judged_is_insufficient() -> None:
    rules = spec(PerformanceRule(metric="accuracy", drop=0.05), PerformanceRule(metric="roc_auc", drop=0.05))
    reports = by_name(judge_outcomes(window(0.5), [], {}, rules))
    assert reports["accuracy"].decision == "insufficient"
    assert "no reference" in reports["accuracy"].sentence
    negatives = OutcomeStats("binary")
    negatives.update(np.full(200, 0.3), np.zeros(200, np.int64), np.zeros(200, np.int64))
    reference = {"roc_auc": MetricReference(value=0.7), "accuracy": MetricReference(value=0.7)}
    assert by_name(judge_outcomes(negatives, [], reference, rules))["roc_auc"].decision == "insufficient"
    assert by_name(judge_outcomes(OutcomeStats("binary"), [], reference, rules))["accuracy"].decision == "insufficient"


def test_two_rules_on_one_metric_are_both_kept() -> None:
    rules = spec(PerformanceRule(metric="accuracy", drop=0.05), PerformanceRule(metric="accuracy", drop=0.2))
    reports = by_name(judge_outcomes(window(0.7), [], ACCURACY, rules))
    assert (reports["accuracy"].decision, reports["accuracy#2"].decision) == ("drift", "ok")


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="has no metric 'mae'"):
        judge_outcomes(window(0.5), [], {}, spec(PerformanceRule(metric="mae", drop=1.0)))


def test_stable_performance_rarely_alerts() -> None:
    """400 windows of 150 rows at the reference's accuracy: a bound alone would fire on some 6 % of them."""
    rng = np.random.default_rng(5)
    rules = spec(PerformanceRule(metric="accuracy", drop=0.05))
    fired = bound_alone = 0
    for _ in range(400):
        accuracy = rng.binomial(150, 0.8) / 150
        report = by_name(judge_outcomes(window(accuracy, 150), [], ACCURACY, rules))["accuracy"]
        fired += report.decision == "drift"
        bound_alone += report.value is not None and report.value <= 0.75
    assert bound_alone > 15
    assert fired <= 20  # 2.5 % nominal on the bad side, plus chance
    assert fired < bound_alone
