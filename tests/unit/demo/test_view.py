"""The screen's state from events, and that every state can be drawn."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from driftloop.demo.screen import LiveScreen, PlainScreen, open_screen, render
from driftloop.demo.view import DemoView, RateMeter
from driftloop.events.decisions import ModelEvent
from driftloop.events.messages import Alert, SourceProgress
from driftloop.events.reports import FeatureReport, MetricReport, WindowReport

DAY_MS = 86_400_000


def report(kind: str, day: int, **fields: Any) -> WindowReport:
    common: dict[str, Any] = {
        "report_id": f"{kind}-{day}",
        "model_id": "flights-late",
        "model_version": "v1",
        "segment": "",
        "window_start_ms": day * DAY_MS,
        "window_end_ms": (day + 1) * DAY_MS,
        "status": "final",
        "rows": 900,
        "late_rows": 0,
        "sources": [],
    }
    return WindowReport(kind=kind, **{**common, **fields})  # type: ignore[arg-type]


def feature(name: str, decision: str) -> FeatureReport:
    return FeatureReport(
        feature=name, kind="numeric", rows=900, missing=0, reference_rows=1, results=[], decision=decision, sentence=""
    )  # type: ignore[arg-type]


def metric(name: str, value: float | None, decision: str = "info") -> MetricReport:
    return MetricReport(metric=name, value=value, low=0.6, high=0.7, reference=0.66, rows=850, decision=decision)  # type: ignore[arg-type]


def alert(state: str, event_id: str) -> Alert:
    return Alert(
        alert_id="a", event_id=event_id, model_id="flights-late", model_version="v1", kind="drift", subject="temp",
        segment="", state=state, severity="warning", window_start_ms=0, window_end_ms=DAY_MS, opened_at_ms=0,
        report_id="r", statistic=2.0, threshold=1.7, message="[temp] is [bold]warmer[/]",
    )  # type: ignore[arg-type]  # fmt: skip


def filled_view() -> DemoView:
    view = DemoView(0, 30 * DAY_MS)
    for day in range(9):
        view.take_report(
            report("input", day, features=[feature("temp", "drift"), feature("hour", "ok")], judged_features=2)
        )
        metrics = [metric("log_loss", 0.5), metric("roc_auc", 0.65), metric("roc_auc@14", 0.61, "drift")]
        view.take_report(report("outcome", day, metrics=metrics, coverage=0.97))
    view.take_report(report("outcome", 9, metrics=[metric("roc_auc", None)], status="provisional"))
    view.take_report(report("outcome", 3, segment="origin=JFK"))
    return view


def test_input_and_outcome_reports_of_a_window_share_a_line_and_the_last_ones_stay() -> None:
    view = filled_view()
    lines = view.windows["flights-late"]
    assert [start // DAY_MS for start, _ in sorted(lines)] == [4, 5, 6, 7, 8, 9]
    line = lines[8 * DAY_MS, "v1"]
    assert (line.drifted, line.judged, line.coverage) == (["temp"], 2, 0.97)
    assert line.metric is not None
    assert line.trailing is not None
    assert (line.metric.metric, line.trailing.metric) == ("roc_auc", "roc_auc@14")
    assert view.counts["windows"] == 18
    view.take_report(report("outcome", 8))
    assert view.counts["windows"] == 18


def test_late_copies_do_not_undo_what_was_restated() -> None:
    def outcome(rows: int, status: str) -> WindowReport:
        metrics = [metric("roc_auc", rows / 1_000)]
        return report("outcome", 1, metrics=metrics, status=status, content_digest=str(rows))

    final, first, second = outcome(900, "final"), outcome(910, "restated"), outcome(920, "restated")
    view = DemoView(0, 30 * DAY_MS)
    for taken in (final, first, second, final, first):
        view.take_report(taken)
    line = view.windows["flights-late"][DAY_MS, "v1"]
    assert line.metric is not None
    assert line.metric.value == 0.92
    assert view.counts["windows"] == 1


def test_alerts_open_and_resolve_and_repeats_change_nothing() -> None:
    view = DemoView(0, DAY_MS)
    assert "warmer" in (view.take_alert(alert("opened", "1")) or "")
    assert view.take_alert(alert("opened", "1")) is None
    assert view.take_alert(alert("firing", "2")) is None
    assert (view.counts["alerts"], list(view.open_alerts)) == (1, ["a"])
    view.take_alert(alert("resolved", "3"))
    assert not view.open_alerts


def test_versions_follow_promotions() -> None:
    view = DemoView(0, DAY_MS)
    for number, kind in enumerate(("registered", "promoted", "rejected")):
        event = ModelEvent(
            event_id=str(number), kind=kind, model_id="m", model_version=f"v{number}", event_time_ms=0, reason="why"
        )  # type: ignore[arg-type]
        view.take_model_event(event)
    assert view.versions == {"m": "v1"}
    assert (view.counts["promoted"], view.counts["rejected"], len(view.news)) == (1, 1, 2)


def test_lag_is_what_was_published_and_not_yet_read() -> None:
    view = DemoView(0, DAY_MS)
    view.published = 100
    for partition, offset in ((0, 10), (1, 20), (0, 30)):
        view.take_progress(
            SourceProgress(
                source_partition=partition,
                predictions_offset=offset,
                predictions_max_ms=0,
                labels_offset=5,
                labels_max_ms=0,
                restart_predictions_offset=0,
                restart_predictions_max_ms=0,
                restart_labels_offset=0,
                restart_labels_max_ms=0,
            )
        )
    assert (view.processed, view.lag) == (60, 40)


def test_rates_are_over_the_last_seconds() -> None:
    meter = RateMeter(span_s=5.0)
    assert meter.update(0.0, 0) == 0.0
    assert meter.update(2.0, 100) == pytest.approx(50.0)
    for second in range(3, 20):
        meter.update(float(second), 100)
    assert meter.update(20.0, 100) == 0.0


def test_every_state_can_be_drawn() -> None:
    for width in (40, 80, 160):
        console = Console(file=StringIO(), width=width)
        console.print(render(DemoView(0, DAY_MS), "demo", 0.0, 0.0))
        view = filled_view()
        view.take_alert(alert("opened", "1"))
        console.print(render(view, "demo", 1234.0, 1000.0))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    # What comes from events is text, never markup.
    assert "[temp] is [bold]warmer[/]" in text
    assert "roc_auc 0.650 [0.600, 0.700]" in text


def test_a_terminal_of_100_columns_shows_windows_and_rows_in_full() -> None:
    console = Console(file=StringIO(), width=100)
    console.print(render(filled_view(), "demo", 0.0, 0.0))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for whole in ("version", "1970-01-05", "900", "97%", "roc_auc 0.650", "roc_auc@14 0.6", "1/2 temp"):
        assert whole in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_without_a_terminal_there_are_plain_lines_at_intervals() -> None:
    out = StringIO()
    screen = open_screen(Console(file=out, width=60), "demo")
    assert isinstance(screen, PlainScreen)
    view = DemoView(0, DAY_MS)
    with screen:
        for second in range(12):
            screen.show(view, now_s=float(second))
        screen.news("[red]news[/]")
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[-1] == "[red]news[/]"
    terminal = Console(file=StringIO(), force_terminal=True, width=80, _environ={"TERM": "xterm"})
    assert isinstance(open_screen(terminal, "demo"), LiveScreen)
