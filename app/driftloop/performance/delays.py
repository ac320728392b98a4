"""How long labels take, as a histogram with fixed bins that merges by addition."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.sparse import load_sparse, to_sparse

__all__ = ["DelayHistogram"]

_SUB_BITS: Final = 5
_SUB: Final = 1 << _SUB_BITS  # bins in one doubling
_OCTAVES: Final = 38
_BINS: Final = _SUB * (_OCTAVES + 1)
_LARGEST_MS: Final = (1 << (_OCTAVES + _SUB_BITS)) - 1


class DelayHistogram:
    """Delays in whole milliseconds: exact below 32 ms, then 32 bins to each doubling up to 2**43 ms (279 years).

    A quantile is therefore right within 1.6 %. Negative delays (clocks of two services differ) count as 0 ms.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)

    def add(self, delays_ms: NDArray[np.int64], sign: int) -> None:
        """Add (``sign`` 1) or take out again (-1) delays, shape (n,)."""
        clipped = np.clip(delays_ms, 0, _LARGEST_MS)
        octave = np.frexp(clipped.astype(np.float64))[1] - (_SUB_BITS + 1)
        np.maximum(octave, 0, out=octave)
        bins = (clipped >> octave) + (octave.astype(np.int64) << _SUB_BITS)
        np.add.at(self.counts, bins, sign)

    def merge(self, other: DelayHistogram) -> None:
        self.counts += other.counts

    def copy(self) -> DelayHistogram:
        twin = DelayHistogram.__new__(DelayHistogram)
        twin.counts = self.counts.copy()
        return twin

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Delays (the middle of each bin in use) and how many labels took so long, both (k,), rising."""
        used = np.flatnonzero(self.counts)
        octaves = np.maximum((used >> _SUB_BITS) - 1, 0)
        low = (used - (octaves << _SUB_BITS)) << octaves
        return low + ((np.int64(1) << octaves) - 1) // 2, self.counts[used]

    def quantile_ms(self, q: float) -> int | None:
        """The smallest delay that at least a share ``q`` of the labels did not exceed: the middle of its bin.

        None while there is no label. Raises ``ValueError`` unless 0 <= q <= 1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile is between 0 and 1, got {q!r}")
        counts = np.maximum(self.counts, 0)
        total = int(counts.sum())
        if total == 0:
            return None
        cumulative = counts.cumsum()
        index = int(np.searchsorted(cumulative, max(1.0, q * total), side="left"))
        index = min(index, _BINS - 1)
        if index < 2 * _SUB:
            return index
        octave = (index >> _SUB_BITS) - 1
        low = (index - (octave << _SUB_BITS)) << octave
        return low + ((1 << octave) - 1) // 2

    def to_wire(self) -> list[list[int]]:
        return to_sparse(self.counts)

    def load(self, wire: object) -> None:
        """Replace the counts by those of :meth:`to_wire`. Raises ``ValueError`` if they do not fit."""
        self.counts = load_sparse(wire, _BINS)

    def __eq__(self, other: object) -> bool:
        return np.array_equal(self.counts, other.counts) if isinstance(other, DelayHistogram) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
