"""The gates of a model's versions on the terminal: a line for each, and what one version's gates looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from driftloop.cli._rows import Column, print_rows
from driftloop.cli._tables import NARROW
from driftloop.events.decisions import GateDetail, GateResult
from driftloop.registry import VersionRow

__all__ = ["print_gates"]

_COLOURS = {"passed": "green", "failed": "red", "insufficient": "yellow"}
#: The rest of a long list is in ``--json``.
_MOST_DETAILS = 25
_MODELS = ("challenger", "champion")
_SUMMARY = [
    Column("gate", said=""),
    Column("verdict", said=""),
    *(Column(name, right=True) for name in ("value", "interval", "bound")),
]


def print_gates(console: Console, versions: Sequence[VersionRow], chosen: str | None = None) -> None:
    """Every version's gates, then in full those of ``chosen``, or of the newest version that has some."""
    judged = [row for row in versions if row.gates]
    if not judged:
        return
    full = next((row for row in judged if row.version == chosen), None) if chosen else judged[-1]
    for row in judged:
        if row is not full:
            for gate in row.gates:
                console.print(
                    Text.assemble(f"{row.version} {gate.gate} ", _verdict(gate), f": {gate.sentence}"),
                    highlight=False,
                    soft_wrap=True,
                )
    if full is not None:
        if len(judged) > 1:
            console.print()
        _print_full(console, full)
    console.print()


def _print_full(console: Console, row: VersionRow) -> None:
    cells = [
        (gate.gate, Text(*_verdict(gate)), _number(gate.value), _interval(gate.low, gate.high), _number(gate.bound))
        for gate in row.gates
    ]
    print_rows(console, _SUMMARY, cells, title=f"gates of {row.version}")
    for gate in row.gates:
        console.print()
        console.print(
            Text.assemble(f"{row.version} {gate.gate} ", _verdict(gate), f": {gate.sentence}"), highlight=False
        )
        told = [detail for detail in gate.details if detail.value is not None or detail.note]
        if not told:
            continue
        shown = told[:_MOST_DETAILS]
        wide = console.width >= NARROW
        console.print(Padding(_details(shown, wide), (0, 0, 0, 2)))
        if len(told) > len(shown):
            console.print(f"  and {len(told) - len(shown):,} more, see --json")


def _verdict(gate: GateResult) -> tuple[str, str]:
    """``insufficient`` with what became of it, because that is the spec's choice."""
    verdict = gate.verdict or ("passed" if gate.passed else "failed")
    said = f"{verdict} ({'let pass' if gate.passed else 'refused'})" if verdict == "insufficient" else verdict
    return said, _COLOURS[verdict]


def _details(details: Iterable[GateDetail], wide: bool) -> Table:
    """Where there is little room, without rows and the two models' own numbers, and notes only in place of numbers."""
    told = list(details)
    models = wide and any(detail.challenger is not None for detail in told)
    notes = wide and any(detail.note for detail in told)
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold", min_width=20)
    table.add_column("", no_wrap=True)
    for name in ("value", "interval", "bound", *(("rows",) if wide else ()), *(_MODELS if models else ())):
        table.add_column(name, justify="right", no_wrap=True)
    if notes:
        table.add_column("", overflow="fold", min_width=12)
    for detail in told:
        cells = [_number(detail.value), _interval(detail.low, detail.high), _number(detail.bound)]
        if wide:
            cells.append("" if detail.rows is None else f"{detail.rows:,}")
        if models:
            cells += [_number(detail.challenger), _number(detail.champion)]
        verdict = Text(detail.verdict, _COLOURS.get(detail.verdict, ""))
        name = f"{detail.name}: {detail.note}" if detail.value is None and not wide else detail.name
        table.add_row(Text(name), verdict, *cells, *((Text(detail.note),) if notes else ()))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.2g} to {high:.2g}"
