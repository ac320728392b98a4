"""How challengers stand against their champions, for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.text import Text

from driftloop.cli._rows import Column, print_rows
from driftloop.events.decisions import ShadowLook
from driftloop.events.time import format_time
from driftloop.registry import ShadowRow, ShadowStore
from driftloop.registry.errors import UnknownModelError

__all__ = ["Comparison", "comparisons_of", "print_comparisons", "shown"]

_LOOKS_SHOWN = 15
_DAY_MS = 86_400_000
_COLUMNS = [
    Column("window ends", said=""),
    *(Column(name, right=True) for name in ("rows", "champion", "challenger", "improvement", "low", "high")),
    Column("verdict", said="", sentence=True),
]


@dataclass(frozen=True)
class Comparison:
    """A comparison with everything that was said after its windows, oldest first."""

    row: ShadowRow
    looks: list[ShadowLook]


def comparisons_of(store: ShadowStore, model: str, known: set[str]) -> list[Comparison]:
    """Every comparison of the model, the latest last. Raises for a model that the registry does not know."""
    if model not in known:
        raise UnknownModelError(model)
    return [Comparison(row, store.looks(row)) for row in store.of_model(model)]


def shown(comparisons: list[Comparison]) -> list[dict[str, Any]]:
    """What ``--json`` prints: each comparison without its inner state, with all of its looks."""
    return [
        {
            "model": found.row.model_id,
            "version": found.row.version,
            "attempt": found.row.attempt,
            "mode": found.row.mode,
            "champion": found.row.champion,
            "status": found.row.status,
            "reason": found.row.reason,
            "from_ms": found.row.from_ms,
            "looks": found.looks,
        }
        for found in comparisons
    ]


def print_comparisons(model: str, comparisons: list[Comparison], console: Console) -> None:
    """The state of each comparison, and the last looks of the latest."""
    if not comparisons:
        console.print(f"{escape(model)}: no version was compared with a champion yet (promotion: shadow or canary)")
        return
    for found in comparisons:
        console.print(_state(found))
    latest = comparisons[-1]
    if latest.looks:
        console.print()
        _print_looks(console, latest)


def _state(found: Comparison) -> Group:
    row = found.row
    head = f"{row.version} against {row.champion}, {row.mode}"
    head += f" (attempt {row.attempt})" if row.attempt > 1 else ""
    lines = [Text(f"{head}: {row.status}, predictions from {format_time(row.from_ms)} on")]
    if found.looks:
        last = found.looks[-1]
        days = (last.window_end_ms - row.from_ms) / _DAY_MS
        lines.append(Text(f"  {days:.3g} days; {last.sentence}"))
        if last.ratio_e_value is not None and last.challenger_share is not None:
            lines.append(
                Text(f"  {last.challenger_share:.2%} in the challenger's arm; mismatch {last.ratio_e_value:.3g} to 1")
            )
        if last.left_out:
            lines.append(Text("  left out: " + ", ".join(f"{count:,} {why}" for why, count in last.left_out.items())))
        recorded = last.recorded_rows
        if recorded != last.champion_rows:
            lines.append(
                Text(
                    f"  the champion served {recorded:,} of its {last.champion_rows:,} rows itself; "
                    "the others were scored with its model file"
                )
            )
    elif row.status == "watching":
        lines.append(Text("  no window has matured yet"))
    if row.reason and not (found.looks and row.reason == found.looks[-1].sentence):
        lines.append(Text(f"  {row.reason}"))
    return Group(*lines)


def _print_looks(console: Console, found: Comparison) -> None:
    cells = []
    for look in found.looks[-_LOOKS_SHOWN:]:
        numbers = (look.champion_loss, look.challenger_loss, look.improvement, look.low, look.high)
        shown = ("-" if number is None else f"{number:.4g}" for number in numbers)
        cells.append((format_time(look.window_end_ms), f"{look.rows:,}", *shown, f"{look.verdict} ({look.reason})"))
    print_rows(console, _COLUMNS, cells)
