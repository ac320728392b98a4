"""Where the values of one row stood in the reference profile of the version that predicted it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from driftloop.profiles.categorical import CategoricalReference
from driftloop.profiles.columns import Columns
from driftloop.profiles.numeric import NumericReference
from driftloop.profiles.reference import ReferenceProfile

__all__ = ["Standing", "percentile", "standings"]


class Standing(Struct, frozen=True, kw_only=True):
    """One value. Shares are in [0, 1]. ``below``: of the reference's finite numbers, those that are smaller, and half
    of those that are equal (the mid-rank percentile); between two anchors it is interpolated, and lies in
    [``below_low``, ``below_high``]. ``share``: of the category among the reference's rows, or of missing values where
    the value is missing. None where it does not apply."""

    feature: str
    value: float | str | None
    sentence: str
    below: float | None = None
    below_low: float | None = None
    below_high: float | None = None
    share: float | None = None


def standings(profile: ReferenceProfile, row: Columns) -> Iterator[Standing]:
    """Of every feature of the profile that the row has a column for. ``row``: columns of one row."""
    columns = {**row, **profile.derive(row)} if profile.derives else row
    for name, reference in profile.features.items():
        if name not in columns:
            continue
        value = columns[name][0]
        if isinstance(reference, NumericReference):
            yield _numeric(name, reference, float(value))  # type: ignore[arg-type]
        else:
            yield _categorical(name, reference, None if value is None else str(value))


def percentile(reference: NumericReference, value: float) -> tuple[float, float, float]:
    """(mid-rank share below, its lowest and its highest possible value) of a finite value.

    >>> percentile(NumericReference.build(np.array([1.0, 2.0, 2.0, 4.0])), 2.0)
    (0.5, 0.5, 0.5)
    >>> percentile(NumericReference.build(np.array([1.0, 2.0, 2.0, 4.0])), 3.0)
    (0.75, 0.75, 0.75)
    """
    anchors, counts = reference.anchor_array, reference.count_array
    at = int(np.searchsorted(anchors, value, side="left"))
    if at < anchors.size and anchors[at] == value:
        share = (int(counts[: 2 * at + 1].sum()) + int(counts[2 * at + 1]) / 2) / reference.rows
        return share, share, share
    low = int(counts[: 2 * at].sum()) / reference.rows
    high = low + int(counts[2 * at]) / reference.rows
    if not 0 < at < anchors.size:
        # The extremes of the reference are anchors: nothing of it lies beyond.
        return low, low, high
    scale = reference.shrink
    within = (value * scale - anchors[at - 1] * scale) / reference.widths[at - 1]
    return low + (high - low) * float(min(max(within, 0.0), 1.0)), low, high


def _numeric(name: str, reference: NumericReference, value: float) -> Standing:
    rows = reference.rows + reference.missing + reference.infinite
    if math.isnan(value):
        share = reference.missing / rows if rows else None
        return Standing(feature=name, value=None, share=share, sentence=_missing(share))
    if not reference.rows or math.isinf(value):
        sentence = "infinite" if math.isinf(value) else "the reference has no number"
        return Standing(feature=name, value=str(value) if math.isinf(value) else value, sentence=sentence)
    below, low, high = percentile(reference, value)
    if reference.minimum is not None and value < reference.minimum:
        sentence = f"below everything in the reference, whose minimum is {reference.minimum:.6g}"
    elif reference.maximum is not None and value > reference.maximum:
        sentence = f"above everything in the reference, whose maximum is {reference.maximum:.6g}"
    else:
        sentence = f"percentile {100 * below:.1f}"
        if high - low > 0.001:
            sentence += f", between {100 * low:.1f} and {100 * high:.1f}"
    return Standing(feature=name, value=value, below=below, below_low=low, below_high=high, sentence=sentence)


def _categorical(name: str, reference: CategoricalReference, value: str | None) -> Standing:
    rows = reference.rows + reference.missing
    if value is None:
        share = reference.missing / rows if rows else None
        return Standing(feature=name, value=None, share=share, sentence=_missing(share))
    count = reference.categories.get(value)
    if count is None:
        sentence = "a category that the reference does not have"
        if reference.other:
            sentence = f"not among the {len(reference.categories):,} categories that are kept of the reference"
        return Standing(feature=name, value=value, share=None if reference.other else 0.0, sentence=sentence)
    more = sum(1 for other in reference.categories.values() if other > count)
    share = count / rows
    sentence = f"{100 * share:.1f} % of the reference, number {more + 1} of {len(reference.categories):,} categories"
    return Standing(feature=name, value=value, share=share, sentence=sentence)


def _missing(share: float | None) -> str:
    return "missing" if share is None else f"missing, like {100 * share:.1f} % of the reference"
