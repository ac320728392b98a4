"""Which part of a history was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from driftloop.cli._span import parse_span
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.events.time import NEVER_MS

__all__ = ["ReplayRequest", "Wanted"]

_EVER_MS = 2**62


@dataclass(frozen=True)
class ReplayRequest:
    """The options, as given."""

    start: str | None = None
    end: str | None = None
    spec: Path | None = None
    model: str | None = None
    segments: bool = False
    verify: bool = False
    as_json: bool = False
    processes: int | None = None


class Wanted:
    """Windows in [``from_ms``, ``until_ms``] of the models that were asked for."""

    def __init__(self, request: ReplayRequest) -> None:
        from_ms, until_ms = parse_span(request.start, request.end)
        self.from_ms = NEVER_MS if from_ms is None else from_ms
        self.until_ms = _EVER_MS if until_ms is None else until_ms
        self._model = request.model
        self._segments = request.segments or request.verify

    def report(self, report: WindowReport) -> bool:
        return report.window_start_ms >= self.from_ms and self.precedes(report) and self._segment(report.segment)

    def precedes(self, report: WindowReport) -> bool:
        """Whether anything wanted may hang on this window: it may lie before the first one that was asked for."""
        return report.status == "final" and self.window_precedes(report)

    def window_precedes(self, report: WindowReport) -> bool:
        """As :meth:`precedes`, whatever the report's status."""
        return report.window_end_ms <= self.until_ms and self._of_model(report.model_id)

    def alert_precedes(self, alert: Alert) -> bool:
        """As :meth:`precedes`, of what the window alerted."""
        return alert.window_end_ms <= self.until_ms and self._of_model(alert.model_id)

    def alert(self, alert: Alert) -> bool:
        return (
            self.from_ms < alert.window_end_ms <= self.until_ms
            and self._of_model(alert.model_id)
            and self._segment(alert.segment)
        )

    def command(self, command: RetrainCommand) -> bool:
        return self.from_ms < command.window_end_ms <= self.until_ms and self._of_model(command.model_id)

    def _of_model(self, model_id: str) -> bool:
        return self._model is None or model_id == self._model

    def _segment(self, segment: str) -> bool:
        return self._segments or not segment
