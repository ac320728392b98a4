"""How a version's rows, parameters and start were chosen, in lines for the terminal, from its lineage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from driftloop.events.time import format_time

__all__ = ["how_trained"]

#: So many of a search's settings are shown, the best first.
_SETTINGS = 5


def how_trained(lineage: Mapping[str, Any]) -> Iterator[str]:
    """A line for each candidate, for the best settings of a search, for the start of a River model and for a gap before
    the holdout; none where the spec left no choice. Whatever a lineage does not have is left out: older ones, and those
    of versions that were trained elsewhere, are of other forms."""
    yield from _choice(lineage.get("choice") or {})
    yield from _search(lineage.get("search") or {})
    started = lineage.get("learned_on") or {}
    if "reason" in started:
        yield f"{started['reason']}; {started.get('new_rows', 0):,} new rows, learned and holdout together"
    gap = lineage.get("gap") or {}
    if "left_out" in gap:
        yield f"gap {gap['gap']}: {gap['left_out']:,} of {gap['rows']:,} rows before the holdout not learned"


def _choice(choice: Mapping[str, Any]) -> Iterator[str]:
    for candidate in choice.get("candidates", []):
        name = candidate["name"]
        if candidate.get("left_out"):
            yield f"candidate {name}: left out, {candidate['left_out']}"
            continue
        text = f"candidate {name}: {choice['metric']} {candidate['value']:.4f} on {choice['slice_rows']:,} later rows"
        if candidate["name"] == choice["chosen"]:
            until = format_time(choice["slice_from_ms"])
            yield f"{text}, trained on {candidate['rows']:,} rows before {until}; chosen"
            continue
        behind = candidate.get("behind")
        if behind is not None:
            low, high = candidate.get("behind_low"), candidate.get("behind_high")
            interval = "" if low is None or high is None else f" [{low:+.4f}, {high:+.4f}]"
            text += f", trained on {candidate['rows']:,} rows; the chosen one is better by {behind:+.4f}{interval}"
        yield text


def _search(search: Mapping[str, Any]) -> Iterator[str]:
    tried = search.get("tried", [])
    if not tried:
        return
    best = search["best"]
    known = sorted(
        (place for place, one in enumerate(tried) if one.get("mean") is not None and place != best),
        key=lambda place: abs(tried[place]["mean"] - tried[best]["mean"]),
    )
    yield (
        f"{search['method']} search: {len(tried)} settings on {len(search['folds'])} splits in time; "
        f"mean {search['metric']}:"
    )
    for place in [best, *known][:_SETTINGS]:
        setting = ", ".join(f"{name} {value}" for name, value in tried[place]["parameters"].items())
        yield f"  {tried[place]['mean']:.4f} {setting}{'; taken' if place == best else ''}"
    failed = sum(1 for one in tried if one.get("mean") is None)
    if failed:
        first = next(one["error"] for one in tried if one.get("mean") is None)
        yield f"  {failed} settings did not work; the first: {first}"
