"""From events to reports: estimates with input windows, what they were worth with outcome windows, alerts, policy."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from driftloop.events.reports import MetricReport
from driftloop.judging.alerts import AlertBook, retire_versions, step
from driftloop.judging.signals import signals_from_report
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.performance.estimated.record import EstimateState, compare_estimates, hold_estimates
from driftloop.performance.metrics import MetricValue
from driftloop.policy.retrain import PolicyState, decide
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, SpecError, parse_spec
from support import world
from support.core_world import PROFILE, SPEC, Stored, logs_of, run
from support.events import DAY_MS, input_report, outcome_report

RULES = """performance:
  rules: [{metric: roc_auc, drop: 0.1, windows: 2}, {metric: roc_auc, drop: 0.05, estimated: true}]"""
SPEC_WITH_RULE = parse_spec(
    world.SPEC.replace("performance:\n  rules: [{metric: roc_auc, drop: 0.1, windows: 2}]", RULES).replace(
        "{on: performance, consecutive: 4}", "{on: estimated_performance, consecutive: 2}"
    )
)


def reference_with_tables() -> ReferenceProfile:
    """Version v1 knows the income alone: its scores were right when it was made."""
    chance = np.random.default_rng(8)
    income = chance.normal(50, 10, 3000).round(1)
    scores = 1 / (1 + np.exp(-(income - 50) / 5))
    truth = (chance.random(3000) < scores).astype(np.int64)
    tables = fit_estimators(SPEC, {}, scores, truth)
    assert tables is not None
    return msgspec.structs.replace(PROFILE, estimators=tables)


@pytest.fixture(scope="module")
def with_tables() -> ReferenceProfile:
    return reference_with_tables()


def _run(profile: ReferenceProfile, spec: ModelSpec, seed: int, **more: int) -> Stored:
    partitions = 3
    events = [*world.history(8, 200, faults=True), *world.end_of_time(partitions, 8)]
    return run(logs_of(events, partitions), partitions, seed, spec=spec, profile=profile, **more)


def test_estimates_stand_beside_what_was_realised(with_tables: ReferenceProfile) -> None:
    stored = _run(with_tables, SPEC_WITH_RULE, 1)
    reports = [report for report, _ in stored.judged.reports if report.status == "final"]
    whole = [report for report in reports if report.kind == "input" and not report.segment and report.rows > 100]
    assert len(whole) >= 7
    for report in whole:
        by_name = {metric.metric: metric for metric in report.estimated}
        assert by_name["accuracy~estimated"].rows == report.rows
        assert by_name["accuracy~weighted"].value == pytest.approx(by_name["accuracy~estimated"].value, abs=0.05)
        assert by_name["roc_auc~estimated"].decision in ("ok", "drift")
        assert by_name["roc_auc~estimated"].threshold is not None
    assert any(report.estimated for report in reports if report.segment), "segments have estimates too"
    outcomes = [report for report in reports if report.kind == "outcome" and not report.segment and report.comparisons]
    assert [outcome.comparisons[0].windows for outcome in outcomes] == list(range(1, len(outcomes) + 1))
    estimated = {report.window_end_ms: {m.metric: m for m in report.estimated} for report in whole}
    errors = []
    for outcome in outcomes[: len(whole)]:
        realised = {metric.metric: metric.value for metric in outcome.metrics}
        for comparison in outcome.comparisons:
            if comparison.metric == "accuracy~estimated":
                before = estimated[outcome.window_end_ms]["accuracy~estimated"]
                assert (comparison.estimate, comparison.low, comparison.high) == (before.value, before.low, before.high)
                assert comparison.realised == realised["accuracy"]
                assert comparison.difference == comparison.realised - comparison.estimate
                errors.append(abs(comparison.difference))
                assert comparison.mean_absolute_error == pytest.approx(np.mean(errors))
    assert len(errors) == len(whole)


def test_interleavings_and_restarts_change_no_estimate(with_tables: ReferenceProfile) -> None:
    runs = [_run(with_tables, SPEC_WITH_RULE, seed, restarts=2 * seed) for seed in (2, 3)]
    digests = [
        {report.report_id: report.content_digest for report, _ in stored.judged.reports if report.status == "final"}
        for stored in runs
    ]
    assert digests[0] == digests[1]
    assert {a.event_id for a in runs[0].judged.alerts} == {a.event_id for a in runs[1].judged.alerts}


def test_without_tables_nothing_is_estimated() -> None:
    stored = _run(msgspec.structs.replace(PROFILE, estimators=None), SPEC_WITH_RULE, 4)
    assert not any(report.estimated or report.comparisons for report, _ in stored.judged.reports)


def estimate(metric: str, value: float, decision: str = "info") -> MetricReport:
    return MetricReport(
        metric=metric, value=value, low=value - 0.02, high=value + 0.02, reference=0.8, rows=500,
        decision=decision, sentence=f"{metric} fell",  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_record_tells_how_far_estimates_can_be_trusted() -> None:
    state = EstimateState()
    for day, value in enumerate((0.80, 0.70, 0.75), start=1):
        state = hold_estimates(state, "v1", day * DAY_MS, [estimate("accuracy~estimated", value)])
    realised = {"accuracy": MetricValue(0.79, 0.7, 0.9, 400)}
    state, first = compare_estimates(state, "v1", DAY_MS, realised)
    assert (first[0].covered, first[0].windows, first[0].covered_share) == (True, 1, 1.0)
    assert first[0].half_widths == pytest.approx(0.5)
    state, none = compare_estimates(state, "v1", 2 * DAY_MS, {"accuracy": MetricValue(None, None, None, 0)})
    assert none == []
    state, third = compare_estimates(state, "v1", 3 * DAY_MS, realised)
    assert (third[0].covered, third[0].windows, third[0].covered_share) == (False, 2, 0.5)
    assert third[0].mean_absolute_error == pytest.approx((0.01 + 0.04) / 2)
    assert third[0].reference_error == pytest.approx(0.01)
    assert state.held == {}
    again = msgspec.json.decode(msgspec.json.encode(state), type=EstimateState)
    assert again == state
    for number in range(9):
        version = f"v{number + 2}"
        at = (4 + number) * DAY_MS
        state = hold_estimates(state, version, at, [estimate("accuracy~estimated", 0.8)])
        state, _ = compare_estimates(state, version, at, realised)
    assert len(state.records) == 4
    assert "v10" in state.records
    assert state.held == {}, "what is compared waits no more"


def test_an_estimated_drop_alerts_in_a_lane_of_its_own() -> None:
    rules = SPEC.alerts
    bad = msgspec.structs.replace(input_report(day=9), estimated=[estimate("roc_auc~estimated", 0.6, "drift")])
    signals = [signal for signal in signals_from_report(bad) if signal.kind == "performance"]
    assert [(s.subject, s.method, s.bad) for s in signals] == [("roc_auc~estimated", "roc_auc", True)]

    def take(book: AlertBook, found: list, day: int) -> tuple[AlertBook, list]:  # type: ignore[type-arg]
        return step(
            book, found, rules, model_id="m", model_version="v1",
            window_start_ms=day * DAY_MS, window_end_ms=(day + 1) * DAY_MS, report_id="r",
        )  # fmt: skip

    book, events = take(AlertBook(), signals, 9)
    assert [(e.kind, e.subject, e.state) for e in events] == [("performance", "roc_auc~estimated", "opened")]
    # An outcome window of an earlier day still counts.
    outcome = signals_from_report(outcome_report(day=2))
    book, events = take(book, outcome, 2)
    assert [(e.subject, e.state) for e in events] == [("roc_auc@7", "opened")]
    kept, gone = retire_versions(book, "input", serving="v2", window_start_ms=0, window_end_ms=11 * DAY_MS)
    assert [event.subject for event in gone] == ["roc_auc~estimated"]
    assert [entry.subject for entry in kept.open_alerts()] == ["roc_auc@7"]


def test_the_policy_may_hear_of_estimates() -> None:
    spec = parse_spec(
        "{model: flights-late, task: binary, features: {x: {kind: numeric}}, "
        "performance: {rules: [{metric: roc_auc, drop: 0.05, estimated: true}]}, "
        "policy: {triggers: [{on: estimated_performance, consecutive: 2}], minimum_labeled_rows: 1}}"
    )
    state = PolicyState()
    commands = []
    for day, decision in enumerate(["ok", "drift", "drift"]):
        for report in (
            msgspec.structs.replace(
                input_report(day=day, features=[]), estimated=[estimate("roc_auc~estimated", 0.6, decision)]
            ),
            msgspec.structs.replace(outcome_report(day=day), metrics=[]),
        ):
            state, _, command = decide(spec, state, report, champion_version="v1", labeled_rows_since=10)
            commands.append(command)
    assert [command is not None for command in commands] == [False] * 5 + [True]
    assert commands[-1] is not None
    assert commands[-1].trigger == "estimated_performance"
    assert "roc_auc~estimated fell; for 2 windows in a row" in commands[-1].reason


@pytest.mark.parametrize(
    ("task", "performance", "message"),
    [
        ("binary", "rules: [{metric: base_rate, drop: 0.1, estimated: true}]", "neither better high nor low"),
        ("binary", "rules: [{metric: f1, drop: 0.1, estimated: true, windows: 3}]", "over 1 window"),
        ("binary", "{estimate: false, rules: [{metric: f1, drop: 0.1, estimated: true}]}", "nothing is estimated"),
        ("regression", "rules: [{metric: mae, drop: 0.1, estimated: true}]", "estimate: true"),
        ("regression", "{estimate: true, rules: [{metric: r2, drop: 0.1, estimated: true}]}", "can be estimated"),
    ],
)
def test_rules_on_estimates_that_cannot_be_are_refused(task: str, performance: str, message: str) -> None:
    inner = performance if performance.startswith("{") else "{" + performance + "}"
    with pytest.raises(SpecError, match=message):
        parse_spec(f"{{model: m, task: {task}, features: {{x: {{kind: numeric}}}}, performance: {inner}}}")


def test_a_trigger_on_estimates_needs_a_rule_on_them() -> None:
    with pytest.raises(SpecError, match="estimated: true"):
        parse_spec(
            "{model: m, task: binary, features: {x: {kind: numeric}}, "
            "policy: {triggers: [{on: estimated_performance}]}}"
        )
