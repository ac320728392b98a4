"""Every metric that driftloop exports, with its name, labels and meaning: the contract with rules and dashboards.

Names follow the Prometheus naming guide: base units, ``_total``, ``_seconds``, ``_ratio``, timestamps instead of ages.
"""

from __future__ import annotations

from importlib.metadata import version as installed_version

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector

from driftloop.observability.series import BatchHistogram, BoundedCounter, BoundedGauge, SeriesBudget

__all__ = ["Families"]

#: Upper bounds in seconds of label delays: one minute to ninety days.
DELAY_BOUNDS_SECONDS = (
    *(60.0, 300.0, 900.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 57_600.0, 86_400.0),
    *(172_800.0, 432_000.0, 864_000.0, 1_728_000.0, 2_592_000.0, 7_776_000.0),
)
BATCH_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TRAINING_BOUNDS_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)


class Families:
    """The metric families of one process, in one registry, under one series budget."""

    def __init__(self, registry: CollectorRegistry, budget: SeriesBudget) -> None:
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        build = Info("driftloop_build", "The version of driftloop.", registry=registry)
        build.info({"version": installed_version("driftloop")})

        def counter(name: str, text: str, *labels: str) -> BoundedCounter:
            return BoundedCounter(f"driftloop_{name}", text, labels, registry, budget)

        def gauge(name: str, text: str, *labels: str) -> BoundedGauge:
            return BoundedGauge(f"driftloop_{name}", text, labels, registry, budget)

        def histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> BatchHistogram:
            return BatchHistogram(f"driftloop_{name}", text, labels, bounds, registry, budget)

        version = ("model", "version")
        source = ("topic", "partition")
        self.records = counter("records_total", "Records read, good and bad.", "topic")
        self.predictions = counter("predictions_total", "Predictions accepted.", "model")
        self.labels = counter("labels_total", "Labels accepted.", "model")
        self.joined = counter("labels_joined_total", "Labels joined with their prediction.", "model")
        self.late = counter("late_records_total", "Records later than the allowed lateness.", "model", "topic")
        self.duplicates = counter("duplicates_total", "Records whose prediction_id counted before.", "model", "topic")
        self.dead_letters = counter("dead_letters_total", "Records put into dead-letters.", "reason")
        self.delay = histogram("label_delay_seconds", "From prediction to label.", DELAY_BOUNDS_SECONDS, "model")
        self.batch = histogram("batch_seconds", "Time to handle one record batch.", BATCH_BOUNDS_SECONDS, "topic")
        self.lag = gauge("consumer_lag", "Records of the partition that are not read yet.", *source)
        self.event_time = gauge("event_timestamp_seconds", "Largest event time read.", *source)
        self.prediction_event_time = gauge(
            "prediction_event_timestamp_seconds", "Largest event time of the model's predictions.", "model"
        )
        self.prediction_record_time = gauge(
            "prediction_record_timestamp_seconds", "Record time of the model's last prediction.", "model"
        )
        self.pending = gauge("pending_predictions", "Predictions that wait for their label.", "partition")
        self.pending_in_memory = gauge(
            "pending_predictions_in_memory", "Those of them that are in memory; the rest is on disk.", "partition"
        )
        self.waiting_labels = gauge("waiting_labels", "Labels that wait for their prediction.", "partition")
        self.waiting_labels_in_memory = gauge(
            "waiting_labels_in_memory", "Those of them that are in memory; the rest is on disk.", "partition"
        )

        self.windows = counter("windows_total", "Windows reported.", "model", "kind", "status", "decision")
        self.closed = gauge(
            "window_last_closed_timestamp_seconds", "Wall time when a window was last closed.", "model", "kind"
        )
        self.window_length = gauge("window_length_seconds", "Length of the model's windows.", "model", "kind")
        self.window_end = gauge(
            "window_last_end_timestamp_seconds", "Event time at which the newest closed window ends.", "model", "kind"
        )
        self.rows = gauge("window_rows", "Rows of the newest closed window.", *version, "kind")
        self.coverage = gauge(
            "label_coverage_ratio", "Share of the newest cohort's predictions with a label.", *version
        )
        self.open_coverage = gauge(
            "open_window_label_coverage_ratio", "Share of the predictions in open windows that have a label.", *version
        )
        self.open_windows = gauge("open_windows", "Outcome windows that are open.", *version)
        estimate = (*version, "metric")
        self.estimated = gauge(
            "estimated_performance", "Metric of the newest closed input window, estimated without labels.", *estimate
        )
        self.estimated_low = gauge("estimated_performance_low", "Lower end of the estimate's interval.", *estimate)
        self.estimated_high = gauge("estimated_performance_high", "Upper end of the estimate's interval.", *estimate)
        self.estimate_error = gauge(
            "estimate_mean_absolute_error", "How far estimates were from what was realised, over windows.", *estimate
        )
        self.drifted = gauge("drifted_features_ratio", "Share of the judged features that drift.", *version)
        method = (*version, "feature", "method")
        self.statistic = gauge("drift_statistic", "Distance from the reference in the newest window.", *method)
        self.threshold = gauge("drift_threshold", "From which statistic on a feature may count as drifted.", *method)
        self.detected = gauge("drift_detected", "1 if the feature drifts in the newest window.", *version, "feature")
        metric = (*version, "metric")
        self.performance = gauge("performance", "Realised metric of the newest closed cohort.", *metric)
        self.low = gauge("performance_low", "Lower end of the metric's confidence interval.", *metric)
        self.high = gauge("performance_high", "Upper end of the metric's confidence interval.", *metric)
        self.reference = gauge("performance_reference", "The metric on the version's validation data.", *metric)
        self.dropped = gauge("performance_drop_detected", "1 if a rule on the metric is broken.", *metric)

        self.alerts = counter("alerts_total", "Changes of state of alerts.", "model", "kind", "state")
        self.alerts_open = gauge("alerts_open", "Alerts that are open now.", "model", "kind", "severity")
        self.commands = counter("retrain_commands_total", "Retrain commands.", "model", "trigger")
        self.commands_open = gauge("retrain_commands_open", "Retrain commands without an outcome.", "model")
        self.commands_idle = gauge("retrain_commands_idle", "Those of them that nobody works on.", "model")
        self.command_limit = gauge(
            "retrain_limit_timestamp_seconds",
            "By when the first of the model's trainings and handovers that go on must be over.",
            "model",
        )
        self.blocked = gauge("trainer_blocked", "1 while no command can be carried out, by what is missing.", "by")
        self.model_events = counter("model_events_total", "Registry events.", "model", "kind")
        self.model = gauge("model_info", "1 for the version an alias points at.", *version, "alias")
        self.gates = counter("gate_results_total", "Gates run on challengers.", "model", "gate", "result")
        self.training = histogram(
            "training_duration_seconds", "Duration of training runs.", TRAINING_BOUNDS_SECONDS, "model", "outcome"
        )
