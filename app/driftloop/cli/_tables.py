"""How reports, alerts and commands are shown, the same for live and replay."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftloop.cli.alerts import alert_line
from driftloop.events.decisions import RetrainCommand
from driftloop.events.messages import Alert
from driftloop.events.reports import WindowReport
from driftloop.events.time import format_time

__all__ = [
    "NARROW",
    "counted",
    "open_console",
    "print_alerts",
    "print_commands",
    "print_facts",
    "print_reports",
    "printable",
]

_COLOURS = {"drift": "red", "ok": "green", "insufficient": "yellow"}
_PIPED_WIDTH = 160
#: Terminals of less columns get a line of facts and the sentence below it in place of a table.
NARROW = 110
_KINDS = ("input", "outcome")


def open_console() -> Console:
    """The terminal, or what COLUMNS says; a file or a pipe gets lines wide enough for a table."""
    console = Console(highlight=False)
    known = console.is_terminal or os.environ.get("COLUMNS", "").isdecimal()
    return console if known else Console(highlight=False, width=_PIPED_WIDTH)


def printable(text: str) -> str:
    """What came from outside, such as a library's output, must not move the cursor of whoever reads it.

    >>> printable("\x1b[2J3 rows")
    '\ufffd[2J3 rows'
    """
    return "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in text)


def counted(number: int, noun: str) -> str:
    """``1 alert``, ``2,000 alerts``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_facts(console: Console, facts: Text, sentence: str) -> None:
    """A line of facts and what they say below it, indented."""
    console.print(facts)
    if sentence:
        console.print(Padding(Text(sentence), (0, 0, 0, 4)))


def print_reports(console: Console, reports: Iterable[WindowReport], title: str) -> None:
    """Window reports by time and model: a table where there is room for it."""
    ordered = sorted(reports, key=_place)
    if not ordered:
        console.print(f"{title}: none")
    elif console.width >= NARROW and _fits(table := _report_table(ordered, title), console):
        console.print(table)
    else:
        console.print(title, style="italic")
        for report in ordered:
            labels = f", {report.labeled_rows:,} labeled" if report.kind == "outcome" else ""
            facts = f"{report.rows:,} rows{labels}"
            window, model = format_time(report.window_start_ms), f"{report.model_id} {report.model_version}"
            verdict = (report.decision, _COLOURS.get(report.decision, ""))
            print_facts(
                console,
                Text("  ").join([Text(window), Text(model), Text(_kind(report)), Text(facts), Text.assemble(verdict)]),
                _headline(report),
            )


def _place(report: WindowReport) -> tuple[int, str, str, int, str, str]:
    kind = _KINDS.index(report.kind) if report.kind in _KINDS else len(_KINDS)
    return (report.window_start_ms, report.model_id, report.model_version, kind, report.sliding, report.segment)


def _kind(report: WindowReport) -> str:
    return " ".join(filter(None, (report.kind, report.sliding, report.segment)))


def _fits(table: Table, console: Console) -> bool:
    """Whether no word of it would be broken."""
    return console.measure(table, options=console.options.update(max_width=10_000)).minimum <= console.width


def _report_table(reports: Iterable[WindowReport], title: str) -> Table:
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
            _kind(report),
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
    if report.status != "provisional" and report.decision != "ok":
        shown = f"{report.sentence} {shown}".strip()
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
