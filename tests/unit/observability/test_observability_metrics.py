from __future__ import annotations

import msgspec
import pytest
from prometheus_client import generate_latest

from driftloop.events.reports import EstimateComparison, MetricReport
from driftloop.observability import Metrics
from support.events import DAY_MS, alert, command, feature, input_report, model_event, outcome_report


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(clock=lambda: 1_000.0)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"driftloop_{name}", labels)


V1 = {"model": "flights-late", "version": "v1"}


def test_declared_counters_are_there_at_zero(metrics: Metrics) -> None:
    metrics.declare(["flights-late"], ["bad_json"])
    assert value(metrics, "predictions_total", model="flights-late") == 0
    assert value(metrics, "alerts_total", model="flights-late", kind="drift", state="opened") == 0
    assert value(metrics, "label_delay_seconds_count", model="flights-late") == 0
    assert value(metrics, "dead_letters_total", reason="bad_json") == 0
    assert "_created" not in generate_latest(metrics.registry).decode()


def test_the_hot_path(metrics: Metrics) -> None:
    metrics.batch("driftloop.predictions", 4_000, 0.02)
    metrics.predictions("m", 3_990)
    metrics.joined("m", [3_600_000, 7_200_000])
    metrics.progress("driftloop.predictions", 0, event_time_ms=5_000, lag=12)
    metrics.pending(0, 77, 50)
    metrics.waiting_labels(0, 9, 4)
    assert value(metrics, "records_total", topic="driftloop.predictions") == 4_000
    assert value(metrics, "batch_seconds_bucket", topic="driftloop.predictions", le="0.025") == 1
    assert value(metrics, "labels_joined_total", model="m") == 2
    assert value(metrics, "label_delay_seconds_sum", model="m") == 10_800
    assert value(metrics, "label_delay_seconds_bucket", model="m", le="3600.0") == 1
    assert value(metrics, "consumer_lag", topic="driftloop.predictions", partition="0") == 12
    assert value(metrics, "event_timestamp_seconds", topic="driftloop.predictions", partition="0") == 5
    assert value(metrics, "waiting_labels", partition="0") == 9
    assert value(metrics, "waiting_labels_in_memory", partition="0") == 4
    metrics.forget_partition("driftloop.predictions", 0)
    assert value(metrics, "consumer_lag", topic="driftloop.predictions", partition="0") is None
    assert value(metrics, "pending_predictions", partition="0") is None
    assert value(metrics, "pending_predictions_in_memory", partition="0") is None
    assert value(metrics, "waiting_labels", partition="0") is None
    assert value(metrics, "waiting_labels_in_memory", partition="0") is None


def test_how_fresh_predictions_are(metrics: Metrics) -> None:
    metrics.latest_prediction("late", 5_000, 7_500)
    assert value(metrics, "prediction_event_timestamp_seconds", model="late") == 5.0
    assert value(metrics, "prediction_record_timestamp_seconds", model="late") == 7.5


def test_an_input_report(metrics: Metrics) -> None:
    metrics.observe_report(input_report())
    assert value(metrics, "drift_statistic", **V1, feature="temp", method="wasserstein") == 1.3
    assert value(metrics, "drift_threshold", **V1, feature="temp", method="wasserstein") == 0.25
    assert value(metrics, "drift_threshold", **V1, feature="temp", method="ks") is None
    assert value(metrics, "drift_detected", **V1, feature="temp") == 1
    assert value(metrics, "drift_detected", **V1, feature="humid") == 0
    assert value(metrics, "drifted_features_ratio", **V1) == 0.5
    assert value(metrics, "window_last_closed_timestamp_seconds", model="flights-late", kind="input") == 1_000
    assert value(metrics, "window_last_end_timestamp_seconds", model="flights-late", kind="input") == 2 * DAY_MS / 1_000
    assert value(metrics, "window_length_seconds", model="flights-late", kind="input") == 86_400


def test_an_outcome_report(metrics: Metrics) -> None:
    metrics.observe_report(outcome_report())
    assert value(metrics, "performance", **V1, metric="roc_auc") == 0.65
    assert value(metrics, "performance_low", **V1, metric="roc_auc") == pytest.approx(0.62)
    assert value(metrics, "performance_reference", **V1, metric="roc_auc") == 0.71
    assert value(metrics, "performance_drop_detected", **V1, metric="roc_auc@7") == 1
    assert value(metrics, "performance_drop_detected", **V1, metric="roc_auc") is None
    assert value(metrics, "label_coverage_ratio", **V1) == 0.975


def test_estimates_and_what_they_were_worth(metrics: Metrics) -> None:
    estimate = MetricReport(metric="roc_auc~estimated", value=0.7, low=0.66, high=0.74, reference=0.71, rows=800)
    metrics.observe_report(msgspec.structs.replace(input_report(), estimated=[estimate]))
    assert value(metrics, "estimated_performance", **V1, metric="roc_auc~estimated") == 0.7
    assert value(metrics, "estimated_performance_low", **V1, metric="roc_auc~estimated") == 0.66
    compared = EstimateComparison(
        metric="roc_auc~estimated", estimate=0.7, realised=0.65, difference=-0.05, labeled_rows=780, windows=3,
        mean_absolute_error=0.03,
    )  # fmt: skip
    metrics.observe_report(msgspec.structs.replace(outcome_report(), comparisons=[compared]))
    assert value(metrics, "estimate_mean_absolute_error", **V1, metric="roc_auc~estimated") == 0.03
    metrics.observe_report(input_report(day=2))
    assert value(metrics, "estimated_performance", **V1, metric="roc_auc~estimated") is None


def test_open_outcome_windows_are_counted_with_their_coverage(metrics: Metrics) -> None:
    first, second = outcome_report(day=1), outcome_report(day=2)
    for report, labeled in ((first, 400), (second, 80), (second, 160)):
        metrics.observe_report(msgspec.structs.replace(report, status="provisional", labeled_rows=labeled))
    assert value(metrics, "open_windows", **V1) == 2
    assert value(metrics, "open_window_label_coverage_ratio", **V1) == pytest.approx(560 / 1600)
    assert value(metrics, "performance", **V1, metric="roc_auc") is None
    metrics.observe_report(first)
    assert value(metrics, "open_windows", **V1) == 1
    assert value(metrics, "open_window_label_coverage_ratio", **V1) == pytest.approx(0.2)
    metrics.observe_report(second)
    assert value(metrics, "open_windows", **V1) == 0
    assert value(metrics, "open_window_label_coverage_ratio", **V1) is None
    metrics.observe_report(msgspec.structs.replace(second, status="provisional"))
    metrics.forget_model("flights-late")
    assert value(metrics, "open_windows", **V1) is None


def test_a_value_that_is_undefined_now_is_not_shown_as_it_was(metrics: Metrics) -> None:
    metrics.observe_report(input_report(day=1))
    metrics.observe_report(outcome_report(day=1))
    metrics.observe_report(input_report(day=2, features=[feature("temp", None)]))
    metrics.observe_report(outcome_report(day=2, auc=None))
    assert value(metrics, "drift_statistic", **V1, feature="temp", method="wasserstein") is None
    assert value(metrics, "drift_detected", **V1, feature="temp") is None
    assert value(metrics, "drift_detected", **V1, feature="humid") is None
    assert value(metrics, "drifted_features_ratio", **V1) is None
    assert value(metrics, "performance", **V1, metric="roc_auc") is None
    assert value(metrics, "performance_reference", **V1, metric="roc_auc") == 0.71


def test_provisional_windows_segments_and_older_windows_change_no_gauge(metrics: Metrics) -> None:
    metrics.observe_report(input_report(day=5))
    calm = input_report(day=6, features=[feature("temp", 0.0)])
    metrics.observe_report(msgspec.structs.replace(calm, status="provisional"))
    metrics.observe_report(msgspec.structs.replace(calm, segment="carrier=UA"))
    restated = input_report(day=4, features=[feature("temp", 0.0)])
    metrics.observe_report(msgspec.structs.replace(restated, status="restated"))
    assert value(metrics, "drift_statistic", **V1, feature="temp", method="wasserstein") == 1.3
    labels = {"model": "flights-late", "kind": "input", "decision": "ok"}
    assert value(metrics, "windows_total", **labels, status="final") == 1
    assert value(metrics, "windows_total", **labels, status="restated") == 1
    assert value(metrics, "windows_total", **labels, status="provisional") is None


def test_the_newest_window_restated_is_shown(metrics: Metrics) -> None:
    metrics.observe_report(input_report(day=5))
    restated = msgspec.structs.replace(input_report(day=5, features=[feature("temp", 0.9)]), status="restated")
    metrics.observe_report(restated)
    assert value(metrics, "drift_statistic", **V1, feature="temp", method="wasserstein") == 0.9


def test_two_versions_of_a_model_are_kept(metrics: Metrics) -> None:
    for day, version in ((1, "v1"), (2, "v2"), (3, "v2"), (4, "v3"), (4, "v2")):
        metrics.observe_report(input_report(version=version, day=day))
        metrics.observe_report(input_report("other", version="v1", day=1))
    shown = {
        sample.labels["version"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("driftloop_") and sample.labels.get("model") == "flights-late"
        if "version" in sample.labels
    }
    assert shown == {"v2", "v3"}
    # A report of the retired version does not bring it back.
    metrics.observe_report(input_report(version="v1", day=1))
    assert value(metrics, "window_rows", **V1, kind="input") is None
    assert value(metrics, "window_rows", model="other", version="v1", kind="input") == 800


def test_of_many_features_those_that_drift_are_shown_first() -> None:
    metrics = Metrics(features_per_model=3)
    features = [feature(f"f{index}", index / 100) for index in range(20)]
    features[0] = feature("f0", 0.01, drift=True)
    metrics.observe_report(input_report(features=features))
    shown = {f.feature for f in features if value(metrics, "drift_detected", **V1, feature=f.feature) is not None}
    assert shown == {"f0", "f18", "f19"}
    assert value(metrics, "series_dropped_total", metric="driftloop_drift_statistic") == 17


def test_alerts_open_and_resolve(metrics: Metrics) -> None:
    labels = {"model": "flights-late", "kind": "drift", "severity": "warning"}
    metrics.set_open_alerts("flights-late", [alert(alert_id="old")])
    assert value(metrics, "alerts_open", **labels) == 1
    metrics.observe_alert(alert("opened"))
    metrics.observe_alert(alert("firing"))
    assert value(metrics, "alerts_open", **labels) == 2
    metrics.observe_alert(alert("resolved"))
    metrics.observe_alert(alert("resolved", alert_id="old"))
    assert value(metrics, "alerts_open", **labels) == 0
    assert value(metrics, "alerts_total", model="flights-late", kind="drift", state="resolved") == 2


def test_a_command_is_open_until_its_outcome(metrics: Metrics) -> None:
    metrics.observe_command(command("c1"))
    metrics.observe_command(command("c2", trigger="drift"))
    assert value(metrics, "retrain_commands_open", model="flights-late") == 2
    metrics.observe_model_event(model_event("registered", command_id="c1"))
    metrics.observe_model_event(model_event("promoted", command_id="c1"))
    assert value(metrics, "retrain_commands_open", model="flights-late") == 1
    metrics.observe_model_event(model_event("failed", version="v3", command_id="c2"))
    assert value(metrics, "retrain_commands_open", model="flights-late") == 0
    assert value(metrics, "retrain_commands_total", model="flights-late", trigger="drift") == 1


def test_aliases_move_and_gates_count_once_a_version(metrics: Metrics) -> None:
    metrics.observe_model_event(model_event("promoted", "v1", command_id=None))
    metrics.set_aliases("flights-late", champion="v1", challenger=None)
    metrics.observe_model_event(model_event("registered", "v2"))
    metrics.set_aliases("flights-late", champion="v1", challenger="v2")
    assert value(metrics, "model_info", model="flights-late", version="v2", alias="challenger") == 1
    metrics.observe_model_event(model_event("promoted", "v2"))
    metrics.set_aliases("flights-late", champion="v2", challenger=None)
    assert value(metrics, "model_info", model="flights-late", version="v1", alias="champion") is None
    assert value(metrics, "model_info", model="flights-late", version="v2", alias="champion") == 1
    assert value(metrics, "model_info", model="flights-late", version="v2", alias="challenger") is None
    assert value(metrics, "gate_results_total", model="flights-late", gate="metric", result="passed") == 2
    metrics.observe_model_event(model_event("rolled_back", "v1", command_id=None))
    metrics.observe_model_event(model_event("rolled_back", "v1", command_id=None))
    metrics.set_aliases("flights-late", champion="v1", challenger=None)
    assert value(metrics, "model_info", model="flights-late", version="v1", alias="champion") == 1


def test_a_model_that_moves_away_leaves_counters_only(metrics: Metrics) -> None:
    metrics.declare(["flights-late"])
    metrics.observe_report(input_report())
    metrics.observe_report(outcome_report())
    metrics.observe_alert(alert())
    metrics.observe_command(command())
    metrics.observe_model_event(model_event("promoted"))
    metrics.set_aliases("flights-late", champion="v2", challenger="v3")
    metrics.forget_model("flights-late")
    left = {
        family.name
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels.get("model") == "flights-late" and family.type == "gauge"
    }
    assert left == set()
    metrics.observe_report(input_report(day=1))
    assert value(metrics, "window_rows", **V1, kind="input") == 800


def test_the_limit_holds_whatever_comes() -> None:
    metrics = Metrics(series_limit=200)
    for index in range(300):
        metrics.predictions(f"model-{index}", 1)
        metrics.observe_report(input_report(f"model-{index}"))
    bounded = sum(
        1
        for family in metrics.registry.collect()
        for sample in family.samples
        if "model" in sample.labels and not sample.name.endswith("_bucket")
    )
    assert 100 <= bounded <= 200
