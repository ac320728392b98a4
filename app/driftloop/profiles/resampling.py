"""Rows drawn again from a reference: windows, and references, as they would come if nothing had changed.

The draws are of counts, with replacement, so the cost depends on the number of anchors or categories and not on rows.
Values between anchors stand where those of the reference stand on average.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from driftloop.profiles.anchors import OFFSET_ONE, NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary, CategoricalWire
from driftloop.profiles.counted import counted_reference
from driftloop.profiles.numeric import NumericSummary

__all__ = ["CategoricalDraws", "NumericDraws"]

_LARGEST = sys.float_info.max


class NumericDraws:
    """Draws from a numeric reference with at least one row."""

    def __init__(self, reference: NumericReference) -> None:
        self.reference = reference
        counts = reference.count_array
        self._filled = np.flatnonzero(counts)
        self._shares = counts[self._filled] / reference.rows
        # The mean offset of the values in each interval between anchors, as a share of its width.
        inner = counts[2:-1:2]
        self._mean_offsets = reference.offset_array / np.maximum(inner, 1) / OFFSET_ONE
        values = np.empty(counts.size)
        values[1::2] = reference.anchor_array
        lower, upper = reference.anchor_array[:-1], reference.anchor_array[1:]
        values[2:-1:2] = lower * (1 - self._mean_offsets) + upper * self._mean_offsets
        values[0], values[-1] = reference.anchors[0], reference.anchors[-1]
        self._values = values

    def pair(self, rows: int, reference_rows: int, random: RandomState) -> tuple[NumericReference, NumericSummary]:
        """A reference of ``reference_rows`` rows and, against it, a window of ``rows`` rows."""
        reference_counts, reference_offsets = self._draw(reference_rows, random)
        mean, std = self._moments(reference_counts, reference_rows)
        drawn = counted_reference(self.reference, reference_counts, reference_offsets, mean=mean, std=std)
        return drawn, self._summary(drawn, rows, random)

    def _draw(self, rows: int, random: RandomState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        counts = np.zeros(self._values.size, dtype=np.int64)
        counts[self._filled] = random.multinomial(rows, self._shares)
        offsets = np.rint(counts[2:-1:2] * self._mean_offsets * OFFSET_ONE).astype(np.int64)
        return counts, offsets

    def _moments(self, counts: NDArray[np.int64], rows: int) -> tuple[float, float]:
        mean = float((counts / rows) @ self._values)
        with np.errstate(over="ignore"):
            scaled = (self._values - mean) / self.reference.unit
            std = math.sqrt(float((counts / max(rows - 1, 1)) @ np.square(scaled))) * self.reference.unit
        return mean, std if math.isfinite(std) else self.reference.std

    def _summary(self, reference: NumericReference, rows: int, random: RandomState) -> NumericSummary:
        counts, offsets = self._draw(rows, random)
        filled = np.flatnonzero(counts)
        with np.errstate(over="ignore"):
            terms = np.clip(self._values[filled] * counts[filled], -_LARGEST, _LARGEST)
            squares = counts @ np.square((self._values - reference.center) / reference.unit)
        return NumericSummary.of_counts(
            reference,
            counts,
            offsets,
            total=terms,
            squares=np.array([squares]),
            minimum=float(self._values[filled[0]]),
            maximum=float(self._values[filled[-1]]),
        )


class CategoricalDraws:
    """Draws from a categorical reference with at least one row."""

    def __init__(self, reference: CategoricalReference) -> None:
        self.reference = reference
        self._names = reference.names
        counts = np.array([*(reference.categories[name] for name in self._names), reference.other], dtype=np.int64)
        self._shares = counts / reference.rows

    def pair(
        self, rows: int, reference_rows: int, random: RandomState
    ) -> tuple[CategoricalReference, CategoricalSummary]:
        """A reference of ``reference_rows`` rows and, against it, a window of ``rows`` rows."""
        before = random.multinomial(reference_rows, self._shares).tolist()
        now = random.multinomial(rows, self._shares).tolist()
        reference = CategoricalReference(
            categories=dict(zip(self._names, before, strict=False)), rows=reference_rows, missing=0, other=before[-1]
        )
        wire = CategoricalWire(
            missing=0,
            counts={name: count for name, count in zip(self._names, now, strict=False) if count},
            unseen=now[-1],
            unseen_names={},
        )
        return reference, CategoricalSummary.from_wire(wire, reference)
