"""What a person sees of the running loop: events from the topics in, the state of the screen out. No drawing here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from driftloop.events.decisions import ModelEvent, RetrainCommand
from driftloop.events.messages import Alert, SourceProgress
from driftloop.events.reports import FeatureReport, MetricReport, WindowReport
from driftloop.events.time import format_time

__all__ = ["HEADLINE_METRIC", "DemoView", "RateMeter", "WindowLine"]

#: The metric shown for a model, the first of these that its report has.
HEADLINE_METRIC = ("roc_auc", "mae", "accuracy")
_WINDOWS_SHOWN = 6
_NEWS_SHOWN = 9


@dataclass
class WindowLine:
    """One window of one model version: what its input and its outcome report say."""

    model_id: str
    version: str
    window_start_ms: int
    rows: int = 0
    drifted: list[str] = field(default_factory=list)
    judged: int = 0
    coverage: float | None = None
    metric: MetricReport | None = None
    trailing: MetricReport | None = None


class RateMeter:
    """Events per second over the last few seconds, from running totals and the times at which they were seen."""

    def __init__(self, span_s: float = 5.0) -> None:
        self._span_s = span_s
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, now_s: float, total: int) -> float:
        """The rate, now that ``total`` is reached."""
        self._seen.append((now_s, total))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > self._span_s:
            self._seen.popleft()
        first_s, first = self._seen[0]
        return (total - first) / (now_s - first_s) if now_s > first_s else 0.0


class DemoView:
    """State of the screen. ``take`` methods get each event in the order of its topic; of copies the first counts."""

    def __init__(self, from_ms: int, to_ms: int) -> None:
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.clock_ms = from_ms
        self.final_ms = from_ms
        self.holding: str | None = "starting"
        self.published = 0
        self.windows: dict[str, dict[tuple[int, str], WindowLine]] = {}
        self.versions: dict[str, str] = {}
        self.open_alerts: dict[str, Alert] = {}
        self.news: deque[tuple[int, str, str]] = deque(maxlen=_NEWS_SHOWN)
        self.counts = {"windows": 0, "alerts": 0, "commands": 0, "promoted": 0, "rejected": 0, "failed": 0}
        self.dead_letters = 0
        self._read: dict[int, int] = {}
        self._seen: set[str] = set()

    @property
    def processed(self) -> int:
        """Predictions and labels that the monitor has read."""
        return sum(self._read.values())

    @property
    def lag(self) -> int:
        """Events published and not yet read."""
        return max(0, self.published - self.processed)

    def take_progress(self, progress: SourceProgress) -> None:
        # The demo's topics begin at offset 0, so offsets count records.
        self._read[progress.source_partition] = progress.predictions_offset + progress.labels_offset

    def take_report(self, report: WindowReport) -> None:
        if report.segment or report.sliding:
            return
        # A late copy of the final report must not stand for what has been restated since.
        if not self._is_new(f"{report.report_id} {report.kind} {report.status} {report.content_digest}"):
            return
        if report.status == "final":
            self.counts["windows"] += 1
        lines = self.windows.setdefault(report.model_id, {})
        key = (report.window_start_ms, report.model_version)
        line = lines.setdefault(key, WindowLine(report.model_id, report.model_version, report.window_start_ms))
        if report.kind == "input":
            line.rows = report.rows
            line.judged = report.judged_features
            line.drifted = [feature.feature for feature in report.features if _drifts(feature)]
        else:
            line.coverage = report.coverage
            line.metric = headline(report.metrics)
            line.trailing = next((metric for metric in report.metrics if "@" in metric.metric), None)
        while len(lines) > _WINDOWS_SHOWN:
            del lines[min(lines)]

    def take_alert(self, alert: Alert) -> str | None:
        """Returns a line of news, or None if there is none in it."""
        if not self._is_new(alert.event_id):
            return None
        if alert.state == "resolved":
            self.open_alerts.pop(alert.alert_id, None)
        else:
            self.open_alerts[alert.alert_id] = alert
        if alert.state != "opened":
            return None
        self.counts["alerts"] += 1
        return self._add(alert.window_end_ms, "alert", f"{alert.model_id} {alert.model_version}: {alert.message}")

    def take_command(self, command: RetrainCommand) -> str | None:
        if not self._is_new(command.command_id):
            return None
        self.counts["commands"] += 1
        return self._add(command.window_end_ms, "retrain", f"{command.model_id}: {command.reason}")

    def take_model_event(self, event: ModelEvent) -> str | None:
        if not self._is_new(event.event_id) or event.kind == "registered":
            return None
        if event.kind in self.counts:
            self.counts[event.kind] += 1
        if event.kind in ("promoted", "rolled_back"):
            self.versions[event.model_id] = event.model_version
        gate = next((gate.sentence for gate in event.gates if gate.gate.startswith("metric")), "")
        why = gate if event.kind == "promoted" and gate and event.command_id else event.reason
        return self._add(event.event_time_ms, event.kind, f"{event.model_id} {event.model_version}: {why}")

    def take_swap(self, model_id: str, version: str, clock_ms: int) -> str:
        """The production service serves this version from now on."""
        return self._add(clock_ms, "swap", f"{model_id}: the production service now serves {version}")

    def _add(self, time_ms: int, kind: str, text: str) -> str:
        self.news.append((time_ms, kind, text))
        return f"{format_time(time_ms)}  {kind:<8}  {text}"

    def _is_new(self, identifier: str) -> bool:
        if identifier in self._seen:
            return False
        self._seen.add(identifier)
        return True


def headline(metrics: list[MetricReport]) -> MetricReport | None:
    """The metric that the screen shows."""
    by_name = {metric.metric: metric for metric in metrics}
    return next((by_name[name] for name in HEADLINE_METRIC if name in by_name), None)


def _drifts(feature: FeatureReport) -> bool:
    return feature.decision == "drift"
