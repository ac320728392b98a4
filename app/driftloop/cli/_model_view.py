"""One model on the terminal: its versions with metrics and gates, how they were trained, the history of its aliases."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from driftloop.cli._gates import print_gates
from driftloop.cli._how_trained import how_trained
from driftloop.cli._rows import Column, print_rows
from driftloop.cli._tables import print_facts, printable
from driftloop.events.time import format_time
from driftloop.registry import HistoryRow, ModelRow, VersionRow

__all__ = ["print_model"]

#: So many of the newest versions are compared metric by metric.
_METRICS_OF_VERSIONS = 5
_COLUMNS = [
    Column("version", said=""),
    Column("status", said=""),
    Column("alias", said=""),
    Column("trained on"),
    Column("registered"),
]


def print_model(
    console: Console,
    model: ModelRow,
    versions: Sequence[VersionRow],
    history: Sequence[HistoryRow],
    gates_of: str | None = None,
) -> None:
    """``gates_of``: the version whose gates are told in full; None: the newest."""
    console.print(Text(f"{model.model_id}: {model.task}, champion {model.champion or 'none yet'}"))
    print_rows(console, _COLUMNS, [_version_cells(row) for row in versions])
    if any(row.metrics for row in versions):
        console.print()
        _print_metrics(console, versions[-_METRICS_OF_VERSIONS:])
    console.print()
    said = [f"{row.version} {line}" for row in versions for line in how_trained(row.lineage)]
    said += [f"{row.version} {sentence}" for row in versions for sentence in _validation_sentences(row)]
    for line in said:
        console.print(Text(printable(line)))
    if said:
        console.print()
    print_gates(console, versions, gates_of)
    for change in history:
        moved = f"{change.previous_version or 'nothing'} -> {change.version or 'nothing'}"
        facts = f"{format_time(change.event_time_ms)}  {change.alias} {change.action}: {moved}, by {change.actor}"
        print_facts(console, Text(printable(facts)), printable(change.reason))


def _validation_sentences(row: VersionRow) -> list[str]:
    """What the checks of the training data found; `driftloop datasets show` has all of it."""
    validation = row.lineage.get("validation")
    if not validation:
        return []
    head = f"validation {validation['verdict']}: {validation['checks']} checks of the training data"
    return [head, *(f"validation {found}" for found in validation["found"])]


def _version_cells(row: VersionRow) -> list[str]:
    span = "-"
    if row.trained_from_ms is not None and row.trained_to_ms is not None:
        span = f"{_minute(row.trained_from_ms)} to {_minute(row.trained_to_ms)}"
    return [row.version, row.status, ", ".join(row.aliases), span, _minute(row.event_time_ms)]


def _minute(time_ms: int) -> str:
    return format_time(time_ms - time_ms % 60_000).replace(":00Z", "Z")


def _print_metrics(console: Console, versions: Sequence[VersionRow]) -> None:
    """A line for each metric that any of the versions was registered with, a column for each version."""
    names = sorted({name for row in versions for name in row.metrics})
    columns = [Column("metric", said=""), *(Column(printable(row.version), right=True) for row in versions)]
    cells = [[name, *(f"{row.metrics[name]:.4g}" if name in row.metrics else "" for row in versions)] for name in names]
    print_rows(console, columns, cells)
