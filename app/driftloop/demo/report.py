"""What the demo says when it ends: closed loop against frozen model, and where to look next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftloop.demo.next_steps import print_next_steps
from driftloop.demo.summary import DemoResult, ModelResult, MonthResult
from driftloop.events.time import format_time

__all__ = ["print_result"]

_METRIC_NAMES = {"roc_auc": "ROC AUC, higher is better", "mae": "mean absolute error in minutes, lower is better"}


def print_result(
    console: Console, result: DemoResult, folder: Path, *, seconds: float, held: bool, options: Sequence[str] = ()
) -> None:
    """Tables month by month, then a sentence a model, then commands to go on with.

    ``held``: the broker stays up, so the topics can be read. ``options``: what the demo was run with.
    """
    how = "" if result.complete else " (stopped before the end)"
    console.print()
    console.print(
        f"[bold]{result.predictions + result.labels:,} events[/] from {format_time(result.from_ms)[:10]} to "
        f"{format_time(result.clock_ms)[:10]} in {seconds:.0f} s{how}",
        highlight=False,
    )
    for model in result.models:
        console.print(_table(model))
    for model in result.models:
        if model.months:
            console.print(_sentence(model), highlight=False)
    print_next_steps(console, result, folder, held=held, options=options)


def _table(model: ModelResult) -> Table:
    table = Table(title=f"{model.model_id}: {_METRIC_NAMES[model.metric]}", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("month", "flights", "frozen in January", "closed loop", "difference"):
        table.add_column(name, justify="left" if name == "month" else "right")
    table.add_column("version serving")
    for month in model.months:
        table.add_row(*_cells(model, month), _versions(model, month.month))
    if model.months:
        table.add_section()
        table.add_row(*_cells(model, model.total), f"{len(model.versions)} versions")
    return table


def _cells(model: ModelResult, month: MonthResult) -> tuple[str | Text, ...]:
    digits = 3 if model.metric == "roc_auc" else 2
    difference = month.closed - month.frozen
    style = "green" if month.better else ("" if math.isclose(difference, 0.0, abs_tol=1e-12) else "red")
    frozen, closed = f"{month.frozen:.{digits}f}", f"{month.closed:.{digits}f}"
    return month.month, f"{month.rows:,}", frozen, closed, Text(f"{difference:+.{digits}f}", style)


def _versions(model: ModelResult, month: str) -> str:
    """The version that served when the month began, and those that followed in it."""
    serving = ""
    followed: list[str] = []
    for swap in model.versions:
        began = format_time(swap.clock_ms)
        if began[:7] < month or began[:10] == f"{month}-01":
            serving = swap.version
        elif began[:7] == month:
            followed.append(f"{swap.version} ({began[5:10]})")
    return " → ".join([name for name in [serving, *followed] if name])


def _sentence(model: ModelResult) -> str:
    total, unit = model.total, "" if model.metric == "roc_auc" else " minutes"
    digits = 3 if model.metric == "roc_auc" else 2
    if len(model.versions) < 2:
        return f"[bold]{model.model_id}[/]: no new version served yet, so both are the model frozen in January"
    outcome = "[green]ahead of[/]" if total.better else "[red]not ahead of[/]"
    return (
        f"[bold]{model.model_id}[/]: the closed loop is {outcome} the frozen model: {total.closed:.{digits}f} against "
        f"{total.frozen:.{digits}f}{unit}, better in {model.won} of {len(model.months)} months"
    )
