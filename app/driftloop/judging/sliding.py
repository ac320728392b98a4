"""Sliding windows: the last panes of a version and segment merged, each time that a pane closes.

They are judged beside the panes: by the version's own reference, with thresholds for windows of their length where the
reference could be cut into such, and by the performance rules over one window. Alerts hear of them in lanes of their
own, the policy does not. A restated pane leaves the sliding windows that it is part of as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from driftloop.judging.earlier import EarlierWindows, Stats
from driftloop.spec.model import DriftReference, ModelSpec
from driftloop.windows.assembly import PartKey, WindowKey

__all__ = ["SlidingPart", "sliding_parts", "sliding_spec"]


@dataclass(frozen=True)
class SlidingPart:
    """The merge of the panes with rows in one sliding window. ``length``: as the spec has it."""

    key: WindowKey
    length: str
    stats: Stats
    panes: int


def sliding_parts(
    key: WindowKey, part: PartKey, stats: Stats, spec: ModelSpec, earlier: EarlierWindows
) -> Iterator[SlidingPart]:
    """The sliding windows that end with this pane. One of which fewer than half of the panes have rows is left out: at
    the start of a version it would be another name for a much shorter window."""
    for length, length_ms in spec.sliding_ms.items():
        panes = length_ms // spec.window_ms
        before, count = earlier.merged(key, part, (spec.window_ms * back for back in range(1, panes)))
        if before is None or 2 * (count + 1) < panes:
            continue
        before.merge(stats)  # type: ignore[arg-type]  # same kind of window, same kind of statistics
        wide = WindowKey(key.end_ms, key.end_ms - length_ms, key.model_id, key.kind)
        yield SlidingPart(wide, length, before, count + 1)


def sliding_spec(spec: ModelSpec) -> ModelSpec:
    """The spec by which sliding windows are judged."""
    rules = [rule for rule in spec.performance.rules if rule.windows == 1]
    return msgspec.structs.replace(
        spec,
        drift=msgspec.structs.replace(spec.drift, references=[DriftReference(name="training")]),
        performance=msgspec.structs.replace(spec.performance, rules=rules),
    )
