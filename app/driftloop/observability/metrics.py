"""What driftloop tells Prometheus: one object a process, fed by batches in the hot path and by events elsewhere.

The names are in :mod:`driftloop.observability.families`. What is exported is bounded
(:mod:`driftloop.observability.series`): only the report over all rows (no segments), only final and restated windows,
the newest two versions of a model, and of many features those that matter most. All the rest is in the database.

Which process feeds what: the monitor the rates, joins, delays, lag and dead letters; the assessor that owns a model its
reports, alerts, commands and model events; the trainer its durations. An event belongs to one process: two that observe
the same one make the sums wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import CollectorRegistry, disable_created_metrics

from driftloop.events.decisions import ModelEvent, ModelEventKind, RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import FeatureReport, WindowReport
from driftloop.events.time import NEVER_MS
from driftloop.observability.families import Families
from driftloop.observability.series import BoundedGauge, Labels, SeriesBudget

__all__ = ["Metrics"]

_ALERT_KINDS = ("drift", "performance", "data_quality", "concept_drift", "unapproved_version")
_ALERT_STATES = ("opened", "firing", "resolved")
_TRIGGERS = ("performance", "drift", "concept", "schedule", "estimated_performance")
_MODEL_EVENTS = get_args(ModelEventKind)
_WINDOW_KINDS = ("input", "outcome")


class Metrics:
    """All metrics of one process, in a registry of its own (or one handed in).

    ``series_limit`` bounds the label sets of everything that comes from data; ``features_per_model`` bounds the
    features shown of one report. ``clock`` gives wall time in seconds, for "when was a window last closed" alone.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        series_limit: int = 10_000,
        features_per_model: int = 50,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        # A second series for every counter that says when it was created: nothing here reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._clock = clock
        self._features_per_model = features_per_model
        self._budget = SeriesBudget(self.registry, series_limit)
        #: Newest window end seen of (model, version, kind).
        self._newest: dict[tuple[str, str, str], int] = {}
        #: Open alerts: alert_id by model, with the labels they count under.
        self._open: dict[str, dict[str, Labels]] = {}
        #: Retrain commands without an outcome: command_id by model.
        self._open_commands: dict[str, set[str]] = {}
        #: Version whose gates were counted last, by model.
        self._gated: dict[str, str] = {}
        #: Open outcome windows by (model, version): report_id to rows and labeled rows.
        self._open_windows: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
        self._families = Families(self.registry, self._budget)

    def declare(self, model_ids: Iterable[str], dead_letter_reasons: Iterable[str] = ()) -> None:
        """Create counters at 0, so that rates and increases exist from the first event on."""
        for reason in dead_letter_reasons:
            self._families.dead_letters.add((reason,), 0)
        for model in model_ids:
            for counter in (self._families.predictions, self._families.labels, self._families.joined):
                counter.add((model,), 0)
            self._families.delay.observe((model,), [])
            for kind in _ALERT_KINDS:
                for state in _ALERT_STATES:
                    self._families.alerts.add((model, kind, state), 0)
            for trigger in _TRIGGERS:
                self._families.commands.add((model, trigger), 0)
            for kind in _MODEL_EVENTS:
                self._families.model_events.add((model, kind), 0)

    # The hot path: once a batch.

    def batch(self, topic: str, records: int, seconds: float) -> None:
        """One record batch was handled: how many records, in how many seconds."""
        self._families.records.add((topic,), records)
        self._families.batch.observe((topic,), [seconds])

    def predictions(self, model_id: str, count: int) -> None:
        self._families.predictions.add((model_id,), count)

    def labels(self, model_id: str, count: int) -> None:
        self._families.labels.add((model_id,), count)

    def joined(self, model_id: str, delays_ms: ArrayLike) -> None:
        """Labels joined with their prediction; delays in milliseconds, one for each."""
        delays = np.asarray(delays_ms, dtype=np.float64)
        self._families.joined.add((model_id,), delays.size)
        self._families.delay.observe((model_id,), delays / 1_000.0)

    def late(self, model_id: str, topic: str, count: int) -> None:
        self._families.late.add((model_id, topic), count)

    def duplicates(self, model_id: str, topic: str, count: int) -> None:
        self._families.duplicates.add((model_id, topic), count)

    def dead_letter(self, reason: str, count: int = 1) -> None:
        """``reason`` is a code out of a fixed set, never text made from a record."""
        self._families.dead_letters.add((reason,), count)

    def progress(self, topic: str, partition: int, *, event_time_ms: int | None = None, lag: int | None = None) -> None:
        """How far a source partition has been read: its largest event time, and the records not read yet."""
        if event_time_ms is not None and event_time_ms > NEVER_MS:
            self._families.event_time.set((topic, str(partition)), event_time_ms / 1_000)
        if lag is not None:
            self._families.lag.set((topic, str(partition)), max(0, lag))

    def latest_prediction(self, model_id: str, event_time_ms: int, record_time_ms: int) -> None:
        """How fresh the model's predictions are: the largest event time, and the record time of the last one."""
        self._families.prediction_event_time.set((model_id,), event_time_ms / 1_000)
        self._families.prediction_record_time.set((model_id,), record_time_ms / 1_000)

    def pending(self, partition: int, count: int, in_memory: int) -> None:
        self._families.pending.set((str(partition),), count)
        self._families.pending_in_memory.set((str(partition),), in_memory)

    def waiting_labels(self, partition: int, count: int, in_memory: int) -> None:
        self._families.waiting_labels.set((str(partition),), count)
        self._families.waiting_labels_in_memory.set((str(partition),), in_memory)

    def forget_partition(self, topic: str, partition: int) -> None:
        """The partition is read by another process now."""
        for gauge in (self._families.lag, self._families.event_time):
            gauge.forget((topic, str(partition)))
        families = self._families
        for rows in (
            families.pending,
            families.pending_in_memory,
            families.waiting_labels,
            families.waiting_labels_in_memory,
        ):
            rows.forget((str(partition),))

    # Events.

    def observe_report(self, report: WindowReport) -> None:
        """Show a window's report. Segments and sliding windows are not exported, of provisional ones only how many open
        windows there are and their label coverage; an older window counts only."""
        if report.segment or report.sliding:
            return
        if report.kind == "outcome":
            self._observe_open(report)
        if report.status == "provisional":
            return
        model, version, kind = report.model_id, report.model_version, report.kind
        self._families.windows.add((model, kind, report.status, report.decision))
        with self._budget.lock:
            if report.status == "final":
                self._families.closed.set((model, kind), self._clock())
            if report.window_end_ms < self._newest.get((model, version, kind), NEVER_MS):
                return
            self._newest[model, version, kind] = report.window_end_ms
            if report.window_end_ms >= max(end for (m, _, k), end in self._newest.items() if (m, k) == (model, kind)):
                self._families.window_end.set((model, kind), report.window_end_ms / 1_000)
                length_ms = report.window_end_ms - report.window_start_ms
                self._families.window_length.set((model, kind), length_ms / 1_000)
            self._retire_versions(model)
            if (model, version, kind) not in self._newest:
                return
            self._families.rows.set((model, version, kind), report.rows)
            if kind == "input":
                self._show_features(report)
            else:
                self._show_outcomes(report)

    def _observe_open(self, report: WindowReport) -> None:
        with self._budget.lock:
            group = (report.model_id, report.model_version)
            windows = self._open_windows.setdefault(group, {})
            if report.status == "provisional":
                windows[report.report_id] = (report.rows, report.labeled_rows)
            elif windows.pop(report.report_id, None) is None:
                return
            rows = sum(rows for rows, _ in windows.values())
            labeled = sum(labeled for _, labeled in windows.values())
            self._families.open_windows.set(group, len(windows))
            self._families.open_coverage.replace(group, {group: labeled / rows} if rows else {})
            if not windows:
                del self._open_windows[group]

    def observe_alert(self, alert: Alert) -> None:
        """Count a change of state that is new, and keep the number of open alerts."""
        self._families.alerts.add((alert.model_id, alert.kind, alert.state))
        with self._budget.lock:
            entries = self._open.setdefault(alert.model_id, {})
            if alert.state == "resolved":
                entries.pop(alert.alert_id, None)
            else:
                entries[alert.alert_id] = (alert.model_id, alert.kind, alert.severity)
            self._show_open(alert.model_id)

    def set_open_alerts(self, model_id: str, alerts: Iterable[Alert]) -> None:
        """Say which alerts of a model are open, after a start or when the model's partition was taken over."""
        with self._budget.lock:
            self._open[model_id] = {alert.alert_id: (model_id, alert.kind, alert.severity) for alert in alerts}
            self._show_open(model_id)

    def observe_command(self, command: RetrainCommand) -> None:
        """Count a new retrain command by its trigger; it is open until a model event with its id tells the outcome."""
        self._families.commands.add((command.model_id, command.trigger))
        with self._budget.lock:
            self._open_commands.setdefault(command.model_id, set()).add(command.command_id)
            self._show_open_commands(command.model_id)

    def set_open_commands(self, model_id: str, command_ids: Iterable[str]) -> None:
        """Say which commands have no outcome yet, after a start or when the model's partition was taken over."""
        with self._budget.lock:
            self._open_commands[model_id] = set(command_ids)
            self._show_open_commands(model_id)

    def show_work(self, model_id: str, idle: int, limit_s: float | None) -> None:
        """Say on how many of a model's open commands nobody works, and by when (wall time, seconds since 1970) the
        first of what goes on must be over; None: nothing goes on."""
        self._families.commands_idle.set((model_id,), idle)
        self._families.command_limit.replace((model_id,), {} if limit_s is None else {(model_id,): limit_s})

    def trainer_blocked(self, by: str, blocked: bool) -> None:
        """Whether no command can be carried out for want of ``by``, such as ``files``."""
        self._families.blocked.set((by,), float(blocked))

    def observe_model_event(self, event: ModelEvent) -> None:
        """Count a registry event and its gates. Where aliases point is the registry's to say: :meth:`set_aliases`."""
        self._families.model_events.add((event.model_id, event.kind))
        with self._budget.lock:
            if event.command_id is not None and event.model_id in self._open_commands:
                self._open_commands[event.model_id].discard(event.command_id)
                self._show_open_commands(event.model_id)
        # "registered" and the verdict after it may both carry the gates of the one run.
        if event.gates and self._gated.get(event.model_id) != event.model_version:
            self._gated[event.model_id] = event.model_version
            for gate in event.gates:
                self._families.gates.add((event.model_id, gate.gate, "passed" if gate.passed else "failed"))

    def set_aliases(self, model_id: str, *, champion: str | None, challenger: str | None) -> None:
        """Point each alias of a model at a version, or at none."""
        for alias, version in (("champion", champion), ("challenger", challenger)):
            shown: dict[Labels, float] = {} if version is None else {(model_id, version, alias): 1.0}
            self._families.model.replace((model_id, alias), shown)

    def training(self, model_id: str, seconds: float, outcome: str) -> None:
        """A run ended: ``promoted``, ``registered``, ``rejected``, ``failed`` or ``held``."""
        self._families.training.observe((model_id, outcome), [seconds])

    def forget_model(self, model_id: str) -> None:
        """Remove the model's gauges: another process owns the model now. Counters stay, as counters must."""
        with self._budget.lock:
            for gauge in (*self._model_gauges(), *self._version_gauges()):
                gauge.forget((model_id,))
            self._newest = {key: end for key, end in self._newest.items() if key[0] != model_id}
            self._open_windows = {group: known for group, known in self._open_windows.items() if group[0] != model_id}
            self._open.pop(model_id, None)
            self._open_commands.pop(model_id, None)

    # Internals.

    def _model_gauges(self) -> tuple[BoundedGauge, ...]:
        """The gauges whose groups start with the model alone."""
        of = self._families
        commands = (of.commands_open, of.commands_idle, of.command_limit)
        return (of.closed, of.window_end, of.window_length, of.alerts_open, *commands, of.model)

    def _version_gauges(self) -> tuple[BoundedGauge, ...]:
        """The gauges whose groups start with (model, version)."""
        of = self._families
        estimates = (of.estimated, of.estimated_low, of.estimated_high, of.estimate_error)
        judged = (
            *estimates,
            of.open_windows,
            of.open_coverage,
            of.statistic,
            of.threshold,
            of.detected,
            of.drifted,
            of.rows,
            of.coverage,
        )
        return (*judged, of.performance, of.low, of.high, of.reference, of.dropped)

    def _retire_versions(self, model: str) -> None:
        """Keep the two versions of the model with the newest windows; the others' gauges go."""
        newest: dict[str, int] = {}
        for (name, version, _), end in self._newest.items():
            if name == model:
                newest[version] = max(end, newest.get(version, NEVER_MS))
        for version in sorted(newest, key=lambda name: (newest[name], name))[:-2]:
            for gauge in self._version_gauges():
                gauge.forget((model, version))
            for kind in _WINDOW_KINDS:
                self._newest.pop((model, version, kind), None)

    def _show_open(self, model: str) -> None:
        counts: dict[Labels, float] = {(model, kind, "warning"): 0.0 for kind in _ALERT_KINDS}
        counts |= {(model, kind, "critical"): 0.0 for kind in _ALERT_KINDS}
        for labels in self._open[model].values():
            counts[labels] = counts.get(labels, 0.0) + 1.0
        self._families.alerts_open.replace((model,), counts)

    def _show_open_commands(self, model: str) -> None:
        self._families.commands_open.set((model,), len(self._open_commands[model]))

    def _show_features(self, report: WindowReport) -> None:
        group = (report.model_id, report.model_version)
        shown = sorted(report.features, key=_contribution, reverse=True)[: self._features_per_model]
        self._budget.drop("driftloop_drift_statistic", len(report.features) - len(shown))
        statistics: dict[Labels, float] = {}
        thresholds: dict[Labels, float] = {}
        for feature in shown:
            for result in feature.results:
                labels = (*group, feature.feature, result.method)
                if result.statistic is not None:
                    statistics[labels] = result.statistic
                if result.threshold is not None:
                    thresholds[labels] = result.threshold
        judged = [feature for feature in shown if feature.decision != "insufficient"]
        self._families.statistic.replace(group, statistics)
        self._families.threshold.replace(group, thresholds)
        self._families.detected.replace(group, {(*group, f.feature): float(f.decision == "drift") for f in judged})
        for gauge, field in (
            (self._families.estimated, "value"),
            (self._families.estimated_low, "low"),
            (self._families.estimated_high, "high"),
        ):
            values = {(*group, metric.metric): getattr(metric, field) for metric in report.estimated}
            gauge.replace(group, {labels: value for labels, value in values.items() if value is not None})
        if report.judged_features:
            self._families.drifted.set(group, report.drifted_features / report.judged_features)
        else:
            self._families.drifted.forget(group)

    def _show_outcomes(self, report: WindowReport) -> None:
        group = (report.model_id, report.model_version)
        self._families.coverage.replace(group, {} if report.coverage is None else {group: report.coverage})
        errors: dict[Labels, float] = {
            (*group, known.metric): known.mean_absolute_error for known in report.comparisons
        }
        if errors:
            self._families.estimate_error.replace(group, errors)
        metrics = {(*group, metric.metric): metric for metric in report.metrics}
        for gauge, field in (
            (self._families.performance, "value"),
            (self._families.low, "low"),
            (self._families.high, "high"),
            (self._families.reference, "reference"),
        ):
            values = {labels: getattr(metric, field) for labels, metric in metrics.items()}
            gauge.replace(group, {labels: value for labels, value in values.items() if value is not None})
        ruled = {labels: m.decision for labels, m in metrics.items() if m.decision in ("ok", "drift")}
        self._families.dropped.replace(group, {labels: float(ruled[labels] == "drift") for labels in ruled})


def _contribution(feature: FeatureReport) -> tuple[bool, float, str]:
    """What makes a feature worth showing: that it drifts, then its largest statistic in units of its threshold."""
    ratios = [
        abs(result.statistic) / result.threshold
        for result in feature.results
        if result.statistic is not None and result.threshold
    ]
    return feature.decision == "drift", max(ratios, default=0.0), feature.feature
