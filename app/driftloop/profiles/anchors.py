"""The reference of a numeric feature: sorted anchors, and the reference's own rows counted on and between them.

The reference's distribution function jumps only at its values. Counting values on every anchor and in every open
interval between anchors therefore keeps what the Kolmogorov-Smirnov statistic needs, exactly, while counts merge by
addition and no raw value is kept. Offsets within intervals add what the Wasserstein distance needs.
"""

from __future__ import annotations

import math
import sys
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from driftloop.profiles.exact import ExactSum

__all__ = ["MAX_ANCHORS", "OFFSET_ONE", "NumericReference", "Placement"]

#: Reference columns with more distinct values than this are represented by quantiles.
MAX_ANCHORS = 512

#: Offsets within an interval are fixed-point numbers; this is the interval's whole width. An interval's sum overflows
#: int64 beyond 2**31 values in one window.
OFFSET_ONE = 2**32

_SMALLEST = math.ulp(0.0)


class Placement(NamedTuple):
    """Sorted values among the anchors: ``counts`` (2k + 1,) by position, ``offsets`` (k - 1,) or None if no value lies
    between anchors, and how many values lie ``below`` the first and ``above`` the last anchor."""

    counts: NDArray[np.int64]
    offsets: NDArray[np.int64] | None
    below: int
    above: int


class NumericReference(Struct, frozen=True, kw_only=True, tag_field="kind", tag="numeric", dict=True):
    """A numeric feature's reference distribution.

    ``anchors`` (k,) are sorted and distinct: all values of the reference, or quantiles including the extremes if there
    are more than the cap. ``counts`` (2k + 1,) are the reference's rows in the open interval below the first anchor, on
    the first anchor, between first and second, ..., above the last. ``offsets`` (k - 1,) are sums of the positions
    within the open intervals between anchors in fixed point, :data:`OFFSET_ONE` being the whole width.
    ``rows`` counts finite values; ``std`` has the divisor n - 1 and is 0 for fewer than two distinct values.
    """

    anchors: list[float]
    counts: list[int]
    offsets: list[int]
    rows: int
    missing: int
    infinite: int
    mean: float | None
    std: float
    minimum: float | None
    maximum: float | None

    @classmethod
    def build(cls, values: NDArray[np.float64], max_anchors: int = MAX_ANCHORS) -> Self:
        """From raw values, shape (n,), NaN meaning missing. Infinite values are counted, not used."""
        if max_anchors < 2:
            raise ValueError(f"max_anchors must be at least 2, got {max_anchors}")
        array = np.asarray(values, dtype=np.float64).ravel()
        finite = np.sort(array[np.isfinite(array)] + 0.0)  # -0.0 becomes 0.0
        anchors = np.unique(finite)
        if anchors.size > max_anchors:
            ranks = np.linspace(0, finite.size - 1, max_anchors).round().astype(np.int64)
            anchors = np.unique(finite[ranks])
        missing = int(np.isnan(array).sum())
        unplaced = cls(
            anchors=anchors.tolist(),
            counts=[0] * (2 * anchors.size + 1),
            offsets=[0] * max(anchors.size - 1, 0),
            rows=0,
            missing=missing,
            infinite=array.size - missing - finite.size,
            mean=None,
            std=0.0,
            minimum=None,
            maximum=None,
        )
        if not finite.size:
            return unplaced
        placement = unplaced.place(finite)
        total = ExactSum()
        total.add(finite)
        mean = total.mean(finite.size)
        return structs.replace(
            unplaced,
            counts=placement.counts.tolist(),
            offsets=unplaced.offsets if placement.offsets is None else placement.offsets.tolist(),
            rows=finite.size,
            mean=mean,
            std=_standard_deviation(finite, mean),
            minimum=float(finite[0]),
            maximum=float(finite[-1]),
        )

    def place(self, values: NDArray[np.float64]) -> Placement:
        """Count sorted finite values, shape (n,), by position among the anchors."""
        anchors = self.anchor_array
        counts = np.zeros(2 * anchors.size + 1, dtype=np.int64)
        if not anchors.size:
            counts[0] = values.size
            return Placement(counts, None, values.size, 0)
        before = values.searchsorted(anchors, side="left")
        after = values.searchsorted(anchors, side="right")
        between = before[1:] - after[:-1]
        first, last = int(before[0]), int(after[-1])
        counts[0] = first
        counts[1::2] = after - before
        counts[2:-1:2] = between
        counts[-1] = values.size - last
        offsets = self._offsets(values[first : int(before[-1])], before) if between.any() else None
        return Placement(counts, offsets, first, values.size - last)

    def _offsets(self, inner: NDArray[np.float64], before: NDArray[np.intp]) -> NDArray[np.int64]:
        # Every value from the first anchor on belongs to the interval that its anchor opens; one on it has offset 0.
        interval_values = np.diff(before)
        lower = self.anchor_array[:-1]
        if self.shrink != 1.0:
            inner, lower = inner * self.shrink, lower * self.shrink
        share = inner - np.repeat(lower, interval_values)
        share /= np.repeat(self.widths, interval_values)
        share *= OFFSET_ONE
        running = np.zeros(inner.size + 1, dtype=np.int64)
        np.cumsum(np.rint(share).astype(np.int64), out=running[1:])
        sums: NDArray[np.int64] = np.diff(running[before - before[0]])
        return sums

    def check(self, name: str) -> None:
        """Raise ``ValueError`` if the parts do not fit together (after decoding)."""
        size = len(self.anchors)
        if len(self.counts) != 2 * size + 1 or len(self.offsets) != max(size - 1, 0) or sum(self.counts) != self.rows:
            raise ValueError(f"the reference of {name!r} is damaged: {size} anchors, {len(self.counts)} counts")
        if any(left >= right for left, right in zip(self.anchors, self.anchors[1:], strict=False)):
            raise ValueError(f"the reference of {name!r} is damaged: its anchors are not sorted and distinct")

    @property
    def below(self) -> float:
        """Sum of the distances to the first anchor of the values below it: none here."""
        return 0.0

    @property
    def above(self) -> float:
        """Sum of the distances to the last anchor of the values above it: none here."""
        return 0.0

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What others derive from this reference alone and keep with it; not part of its content."""
        return {}

    @property
    def exact(self) -> bool:
        """Whether every distinct value is an anchor, so that statistics are exact rather than close."""
        return not any(self.counts[0::2])

    @property
    def center(self) -> float:
        """What is subtracted before squaring: the mean (0 without values)."""
        return self.mean or 0.0

    @cached_property
    def unit(self) -> float:
        """A power of two near the standard deviation: deviations are divided by it before squaring."""
        if not self.std:
            return 1.0
        return math.ldexp(1.0, min(max(math.frexp(self.std)[1], -1000), 1000))

    @cached_property
    def anchor_array(self) -> NDArray[np.float64]:
        return np.array(self.anchors, dtype=np.float64)

    @cached_property
    def count_array(self) -> NDArray[np.int64]:
        return np.array(self.counts, dtype=np.int64)

    @cached_property
    def offset_array(self) -> NDArray[np.int64]:
        return np.array(self.offsets, dtype=np.int64)

    @cached_property
    def shrink(self) -> float:
        """1, or 0.5 where the range of the anchors itself is beyond float64."""
        if not self.anchors or math.isfinite(self.anchors[-1] - self.anchors[0]):
            return 1.0
        return 0.5

    @cached_property
    def widths(self) -> NDArray[np.float64]:
        """Widths of the k - 1 intervals between anchors, times :attr:`shrink`; positive."""
        return np.maximum(np.diff(self.anchor_array * self.shrink), _SMALLEST)


def _standard_deviation(values: NDArray[np.float64], mean: float) -> float:
    if values.size < 2 or values.min() == values.max():
        return 0.0
    # Halving and scaling by a power of two keep squares inside float64 whatever the values' magnitude.
    deviations = values * 0.5 - mean * 0.5
    exponent = math.frexp(float(np.abs(deviations).max()))[1]
    squares = ExactSum()
    squares.add(np.square(np.ldexp(deviations, -exponent)))
    root = math.sqrt(squares.value() / (values.size - 1))
    try:
        return math.ldexp(root, exponent + 1)
    except OverflowError:
        return sys.float_info.max
