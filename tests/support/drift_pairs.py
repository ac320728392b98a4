"""Reference and window of one feature from raw values, as drift methods take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from driftloop.drift.pairs import CategoricalPair, NumericPair
from driftloop.profiles.anchors import MAX_ANCHORS, NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
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
    """From counts by category; categories are named by their positions."""
    names = [f"c{index:05}" for index in range(len(reference))]
    return categorical_pair(np.repeat(names, reference).tolist(), np.repeat(names, window).tolist())
