"""How reports, alerts and commands are shown, the same for live and replay."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftloop.cli.alerts import alert_line
from driftloop.events.messages import Alert, RetrainCommand, WindowReport
from driftloop.events.time import format_time

__all__ = ["open_console", "print_alerts", "print_commands", "report_table"]

_COLOURS = {"drift": "red", "ok": "green", "insufficient": "yellow"}
_PIPED_WIDTH = 160


def open_console() -> Console:
    """The terminal; a file or a pipe gets lines wide enough for a table."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPED_WIDTH)


def report_table(reports: Iterable[WindowReport], title: str) -> Table:
    """A line for each window report."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in ("window", "model", "kind"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "labels"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what it says", overflow="fold", min_width=30)
    for report in reports:
        colour = _COLOURS.get(report.decision, "")
        table.add_row(
            format_time(report.window_start_ms),
            f"{report.model_id} {report.model_version}",
            " ".join(filter(None, (report.kind, report.sliding, report.segment))),
            f"{report.rows:,}",
            f"{report.labeled_rows:,}" if report.kind == "outcome" else "",
            Text(report.decision, style=colour),
            _headline(report),
        )
    return table


def _headline(report: WindowReport) -> str:
    if report.kind == "input":
        return report.sentence
    values = [f"{metric.metric} {metric.value:.3f}" for metric in report.metrics if metric.value is not None]
    shown = ", ".join(values[:4])
    changed = [said.detector for said in report.concept if said.state == "drift"]
    if changed:
        shown += f"; concept drift: {', '.join(changed)}"
    if report.status != "provisional" or report.labels is None:
        return shown
    coverage = f"coverage {report.coverage or 0.0:.0%}"
    if report.labels.maturity is not None:
        coverage += f", maturity {report.labels.maturity:.0%}"
    corrected = [f"{m.metric} {m.value:.3f}" for m in report.estimated if m.value is not None]
    return "; ".join(part for part in (coverage, shown, ", ".join(corrected[:3])) if part)


def print_alerts(console: Console, alerts: Iterable[Alert], title: str) -> None:
    """A line for each change of an alert, as `driftloop alerts tail` has it."""
    console.print(title, style="bold")
    for alert in alerts:
        console.print(alert_line(alert), soft_wrap=True)


def print_commands(console: Console, commands: Iterable[RetrainCommand], title: str) -> None:
    """A line for each retrain command."""
    console.print(title, style="bold")
    for command in commands:
        window, start, end = (format_time(at) for at in (command.window_end_ms, command.from_ms, command.to_ms))
        champion = f"{command.model_id} (champion {command.champion_version})"
        console.print(
            f"{window}  {champion}  {command.trigger}  data {start} to {end}  {command.reason}", soft_wrap=True
        )
