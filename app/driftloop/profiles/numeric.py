"""Numeric features: a window's values, counted on and between the reference's anchors."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.profiles.anchors import MAX_ANCHORS, OFFSET_ONE, NumericReference
from driftloop.profiles.exact import UNIT_EXPONENT, ExactSum, SumWire, float_units, units_to_float

__all__ = ["MAX_ANCHORS", "OFFSET_ONE", "NumericReference", "NumericSummary", "NumericWire"]

# Values wait here until there are enough to be worth a pass; results do not depend on it, sums being exact.
_PENDING_VALUES = 8192


class NumericWire(Struct, frozen=True, kw_only=True, tag_field="kind", tag="numeric"):
    """A :class:`NumericSummary` in JSON: ``counts`` alternates position and count, for positions with any; ``offsets``
    has a sum for every interval between anchors that is among them."""

    missing: int
    infinite: int
    counts: list[int]
    offsets: list[int]
    below: SumWire
    above: SumWire
    sum: SumWire
    squares: SumWire
    minimum: float | None
    maximum: float | None


class NumericSummary:
    """A window's values of one numeric feature, counted against the reference's anchors.

    Summaries of the same reference merge; any split of the values into updates and any order of merges ends with the
    same content to the last bit. NaN counts as missing, infinite values apart; neither is in any statistic.
    """

    __slots__ = (
        "_above",
        "_below",
        "_counts",
        "_infinite",
        "_maximum",
        "_minimum",
        "_missing",
        "_offsets",
        "_pending",
        "_pending_values",
        "_squares",
        "_sum",
        "reference",
    )

    def __init__(self, reference: NumericReference) -> None:
        size = len(reference.anchors)
        self.reference = reference
        self._counts = np.zeros(2 * size + 1, dtype=np.int64)
        self._offsets = np.zeros(max(size - 1, 0), dtype=np.int64)
        self._below = ExactSum()
        self._above = ExactSum()
        self._sum = ExactSum()
        self._squares = ExactSum()
        self._missing = 0
        self._infinite = 0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._pending: list[NDArray[np.float64]] = []
        self._pending_values = 0

    def update(self, values: NDArray[np.float64]) -> None:
        """Count values, shape (n,), float64, NaN meaning missing. The array may be reused by the caller afterwards."""
        self._pending.append(np.array(values, dtype=np.float64))
        self._pending_values += self._pending[-1].size
        if self._pending_values >= _PENDING_VALUES:
            self._fold()

    def add_missing(self, rows: int) -> None:
        """Count rows in which the feature is missing."""
        self._missing += rows

    def _fold(self) -> None:
        """Count what is pending."""
        if not self._pending:
            return
        values = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        self._pending = []
        self._pending_values = 0
        values.sort()  # -inf comes first, +inf and then NaN last
        if values.size and not (math.isfinite(values[0]) and math.isfinite(values[-1])):
            negative_end = int(values.searchsorted(-math.inf, side="right"))
            positive_start = int(values.searchsorted(math.inf, side="left"))
            missing_start = int(values.searchsorted(math.nan, side="left"))
            self._missing += values.size - missing_start
            self._infinite += negative_end + missing_start - positive_start
            values = values[negative_end:positive_start]
        if values.size:
            self._count(values)

    def _count(self, values: NDArray[np.float64]) -> None:
        """Count sorted finite values."""
        reference = self.reference
        values += 0.0  # -0.0 becomes 0.0, so that an extreme of zero has one form
        self._minimum = min(self._minimum, float(values[0]))
        self._maximum = max(self._maximum, float(values[-1]))
        placement = reference.place(values)
        self._counts += placement.counts
        if placement.offsets is not None:
            self._offsets += placement.offsets
        self._sum.add(values)
        with np.errstate(over="ignore"):
            deviations = values - reference.center
            deviations /= reference.unit
            np.square(deviations, out=deviations)
            self._squares.add(deviations)
            if reference.anchors and placement.below:
                self._below.add(reference.anchors[0] - values[: placement.below])
            if placement.above:
                self._above.add(values[-placement.above :] - reference.anchors[-1])

    def merge(self, other: NumericSummary) -> None:
        """Add the content of another summary of the same reference."""
        self._fold()
        other._fold()
        if self._counts.size != other._counts.size:
            raise ValueError("numeric summaries of different references cannot be merged")
        self._counts += other._counts
        self._offsets += other._offsets
        self._below.merge(other._below)
        self._above.merge(other._above)
        self._sum.merge(other._sum)
        self._squares.merge(other._squares)
        self._missing += other._missing
        self._infinite += other._infinite
        self._minimum = min(self._minimum, other._minimum)
        self._maximum = max(self._maximum, other._maximum)

    def copy(self) -> NumericSummary:
        twin = NumericSummary(self.reference)
        twin.merge(self)
        return twin

    @property
    def counts(self) -> NDArray[np.int64]:
        """Rows by position, shape (2k + 1,), as in :class:`NumericReference`. Not to be written to."""
        self._fold()
        return self._counts

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Sums of offsets in the k - 1 intervals between anchors, in fixed point. Not to be written to."""
        self._fold()
        return self._offsets

    @property
    def below(self) -> float:
        """Sum of the distances to the first anchor of the values below it."""
        self._fold()
        return self._below.value()

    @property
    def above(self) -> float:
        """Sum of the distances to the last anchor of the values above it."""
        self._fold()
        return self._above.value()

    @property
    def rows(self) -> int:
        """Finite values."""
        return int(self.counts.sum())

    @property
    def missing(self) -> int:
        self._fold()
        return self._missing

    @property
    def infinite(self) -> int:
        self._fold()
        return self._infinite

    @property
    def minimum(self) -> float | None:
        self._fold()
        return self._minimum if math.isfinite(self._minimum) else None

    @property
    def maximum(self) -> float | None:
        self._fold()
        return self._maximum if math.isfinite(self._maximum) else None

    def mean(self) -> float | None:
        """The mean of the finite values, correctly rounded; None if there are none."""
        rows = self.rows
        return self._sum.mean(rows) if rows else None

    def variance(self) -> float | None:
        """The variance with divisor n - 1; None with fewer than two values, or where it is beyond float64."""
        std = self.std()
        return std * std if std is not None and math.isfinite(std * std) else None

    def std(self) -> float | None:
        """The standard deviation with divisor n - 1; None with fewer than two values, or where a value is more than
        1e154 reference deviations from the reference's mean."""
        rows = self.rows
        if rows < 2 or not self._squares.finite:
            return None
        if self._minimum == self._maximum:
            return 0.0
        # n * sum(d**2) - (sum(x) - n*c)**2, d = (x - c) / unit, as integers in units of 2**-2148: nothing cancels.
        doubled = 2 * (math.frexp(self.reference.unit)[1] - 1)
        power = UNIT_EXPONENT + doubled
        squares = rows * self._squares.units
        squares = squares << power if power >= 0 else squares >> -power
        deviation = self._sum.units - rows * float_units(self.reference.center)
        spread = max(squares - deviation * deviation, 0)
        scaled = units_to_float(spread, 2 * UNIT_EXPONENT + doubled, rows * (rows - 1))
        std = math.sqrt(scaled) * self.reference.unit
        return std if math.isfinite(std) else None

    def to_wire(self) -> NumericWire:
        """For JSON; equal content gives equal bytes."""
        self._fold()
        positions = np.flatnonzero(self._counts)
        pairs = np.empty(2 * positions.size, dtype=np.int64)
        pairs[0::2] = positions
        pairs[1::2] = self._counts[positions]
        return NumericWire(
            missing=self._missing,
            infinite=self._infinite,
            counts=pairs.tolist(),
            offsets=self._offsets[self._inner(positions)].tolist(),
            below=self._below.to_wire(),
            above=self._above.to_wire(),
            sum=self._sum.to_wire(),
            squares=self._squares.to_wire(),
            minimum=self.minimum,
            maximum=self.maximum,
        )

    def _inner(self, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """Indices of the intervals between anchors among the positions."""
        inner = (positions % 2 == 0) & (positions > 0) & (positions < self._counts.size - 1)
        indices: NDArray[np.intp] = positions[inner] // 2 - 1
        return indices

    @classmethod
    def from_wire(cls, wire: NumericWire, reference: NumericReference) -> NumericSummary:
        """The summary that :meth:`to_wire` described. Raises ``ValueError`` if it does not fit the reference."""
        summary = cls(reference)
        pairs = np.array(wire.counts, dtype=np.int64).reshape(-1, 2)
        positions = pairs[:, 0].astype(np.intp)
        if positions.size and (
            positions[0] < 0 or positions[-1] >= summary._counts.size or np.diff(positions).min(initial=1) < 1
        ):
            raise ValueError(
                "a numeric summary has positions that its reference has not: was it made with another one?"
            )
        summary._counts[positions] = pairs[:, 1]
        inner = summary._inner(positions)
        if inner.size != len(wire.offsets):
            raise ValueError(f"a numeric summary has {len(wire.offsets)} offsets for {inner.size} intervals")
        summary._offsets[inner] = wire.offsets
        summary._below = ExactSum.from_wire(wire.below)
        summary._above = ExactSum.from_wire(wire.above)
        summary._sum = ExactSum.from_wire(wire.sum)
        summary._squares = ExactSum.from_wire(wire.squares)
        summary._missing = wire.missing
        summary._infinite = wire.infinite
        summary._minimum = math.inf if wire.minimum is None else wire.minimum
        summary._maximum = -math.inf if wire.maximum is None else wire.maximum
        return summary

    @classmethod
    def of_counts(
        cls,
        reference: NumericReference,
        counts: NDArray[np.int64],
        offsets: NDArray[np.int64],
        *,
        total: NDArray[np.float64],
        squares: NDArray[np.float64],
        minimum: float,
        maximum: float,
    ) -> NumericSummary:
        """A summary of values that lie on and between the anchors, from counts, offsets and terms of the sums of values
        and of squares (of deviations from the reference's center in its unit). The arrays belong to it then."""
        summary = cls(reference)
        summary._counts, summary._offsets = counts, offsets
        summary._sum.add(total)
        summary._squares.add(squares)
        summary._minimum, summary._maximum = minimum, maximum
        return summary

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NumericSummary):
            return NotImplemented
        return self.to_wire() == other.to_wire()

    __hash__ = None  # type: ignore[assignment]
