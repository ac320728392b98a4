"""Numbers of any size and sign in bins of constant relative width: quantiles that merge by addition.

Reference: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", PVLDB 12(12), 2019 (with the linearly interpolated mapping of its section 2: a power of two is cut into
equal parts).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.sparse import load_sparse, to_sparse

__all__ = ["RELATIVE_ERROR", "RelativeHistogram"]

_PARTS: Final = 64  # of one doubling
_LEAST_EXPONENT: Final = -127  # magnitudes below 2**-128 count as 0
_MOST_EXPONENT: Final = 128  # those from 2**128 on as just below it
_SIDE: Final = _PARTS * (_MOST_EXPONENT - _LEAST_EXPONENT + 1)
_ZERO: Final = _SIDE
_BINS: Final = 2 * _SIDE + 1
_NO_COUNTS: Final = np.zeros(0, np.int64)

#: A quantile is wrong by at most this share of itself: half of the widest bin, over its middle.
RELATIVE_ERROR: Final = 1.0 / (2 * _PARTS + 1)


class RelativeHistogram:
    """Counts of finite numbers by sign and magnitude: 64 bins to each doubling, from 2**-128 (about 3e-39) to 2**128.

    Memory: 8 bytes for each bin between the lowest and the highest one in use, 262 kB at most.
    """

    __slots__ = ("_counts", "_first")

    def __init__(self) -> None:
        self._first = 0  # bin of the first count
        self._counts = _NO_COUNTS

    def add(self, values: NDArray[np.float64], sign: int) -> None:
        """Add (``sign`` 1) or take out again (-1) finite numbers, shape (n,)."""
        if values.size:
            bins = _bins_of(values)
            first = int(bins.min())
            self._include(first, sign * np.bincount(bins - first))

    def _include(self, first: int, counts: NDArray[np.int64]) -> None:
        if not self._counts.size:
            self._first, self._counts = first, counts.copy()
            return
        start, end = min(first, self._first), max(first + counts.size, self._first + self._counts.size)
        if end - start > self._counts.size:
            wider = np.zeros(end - start, np.int64)
            wider[self._first - start :][: self._counts.size] = self._counts
            self._first, self._counts = start, wider
        self._counts[first - self._first :][: counts.size] += counts

    def merge(self, other: RelativeHistogram) -> None:
        if other._counts.size:
            self._include(other._first, other._counts)

    def copy(self) -> RelativeHistogram:
        twin = RelativeHistogram()
        twin._first, twin._counts = self._first, self._counts.copy()
        return twin

    @property
    def rows(self) -> int:
        return int(self._counts.sum())

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here."""
        return not self._counts.size or int(self._counts.min()) >= 0

    def _whole(self) -> NDArray[np.int64]:
        counts = np.zeros(_BINS, np.int64)
        counts[self._first :][: self._counts.size] = self._counts
        return counts

    def quantile(self, q: float, *, absolute: bool = False) -> tuple[float, float] | None:
        """The smallest value that at least a share ``q`` of the values do not exceed, and how far off it can be.

        ``absolute``: of the magnitudes. None while there is no value.
        """
        counts = self._whole()
        if absolute:
            counts[_ZERO + 1 :] += counts[:_ZERO][::-1]
            counts[:_ZERO] = 0
        total = int(counts.sum())
        if not total:
            return None
        index = int(np.searchsorted(counts.cumsum(), max(1, math.ceil(q * total)), side="left"))
        return _value_of(min(index, _BINS - 1))

    def largest(self) -> tuple[float, float] | None:
        """The largest magnitude, and how far off it can be; None while there is no value."""
        return self.quantile(1.0, absolute=True)

    def to_wire(self) -> list[list[int]]:
        return to_sparse(self._whole())

    def load(self, wire: object) -> None:
        """Replace the counts by those of :meth:`to_wire`. Raises ``ValueError`` if they do not fit."""
        counts = load_sparse(wire, _BINS)
        used = np.flatnonzero(counts)
        self._first, self._counts = 0, _NO_COUNTS
        if used.size:
            self._first = int(used[0])
            self._counts = counts[used[0] : used[-1] + 1].copy()

    def __eq__(self, other: object) -> bool:
        return np.array_equal(self._whole(), other._whole()) if isinstance(other, RelativeHistogram) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def _bins_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    mantissa, exponent = np.frexp(values)  # the mantissa's magnitude is in [1/2, 1), or 0
    np.abs(mantissa, out=mantissa)
    part = ((mantissa - 0.5) * (2 * _PARTS)).astype(np.int64)
    place = (exponent.astype(np.int64) - _LEAST_EXPONENT) * _PARTS + part
    place = np.clip(place, -1, _SIDE - 1)
    place[mantissa == 0.0] = -1
    bins: NDArray[np.int64] = np.where(values < 0.0, _ZERO - 1 - place, _ZERO + 1 + place)
    return bins


def _value_of(index: int) -> tuple[float, float]:
    place = index - _ZERO - 1 if index > _ZERO else _ZERO - 1 - index
    if index == _ZERO:
        return 0.0, math.ldexp(0.5, _LEAST_EXPONENT)
    exponent, part = divmod(place, _PARTS)
    middle = math.ldexp(0.5 + (part + 0.5) / (2 * _PARTS), exponent + _LEAST_EXPONENT)
    half = math.ldexp(0.5 / (2 * _PARTS), exponent + _LEAST_EXPONENT)
    return (middle if index > _ZERO else -middle), half
