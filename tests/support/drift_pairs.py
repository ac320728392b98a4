"""Reference and window of one feature from raw values, as drift methods take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from driftloop.drift.pairs import CategoricalPair, NumericPair
from driftloop.profiles.anchors import MAX_ANCHORS, NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary, CategoricalWire
from driftloop.profiles.numeric import NumericSummary

__all__ = ["categorical_pair", "counted_pair", "numeric_pair"]


def numeric_pair(reference: ArrayLike, window: ArrayLike, max_anchors: int = MAX_ANCHORS) -> NumericPair:
    built = NumericReference.build(np.asarray(reference, dtype=np.float64), max_anchors)
    summary = NumericSummary(built)
    summary.update(np.asarray(window, dtype=np.float64))
    return NumericPair(built, summary)


def categorical_pair(reference: Sequence[str | None], window: Sequence[str | None]) -> CategoricalPair:
    built = CategoricalReference.build(reference)
    summary = CategoricalSummary(built)
    summary.update(window)
    return CategoricalPair(built, summary)


def counted_pair(reference: Sequence[int], window: Sequence[int]) -> CategoricalPair:
    """From counts by category (at most as many as a reference keeps); categories are named by their positions."""
    counts, other = ({f"c{i:05}": int(n) for i, n in enumerate(side) if n} for side in (reference, window))
    built = CategoricalReference(categories=counts, rows=sum(counts.values()), missing=0)
    unseen = {name: rows for name, rows in other.items() if name not in counts}
    wire = CategoricalWire(
        missing=0,
        counts={name: rows for name, rows in other.items() if name in counts},
        unseen=sum(unseen.values()),
        unseen_names=unseen,
    )
    return CategoricalPair(built, CategoricalSummary.from_wire(wire, built))
