"""How many rows of a window are copies of others: a bounded, mergeable sketch of the distinct rows.

The k smallest hashes of the distinct rows are kept ("k minimum values": Z. Bar-Yossef et al., "Counting distinct
elements in a data stream", RANDOM 2002). With fewer than k distinct rows their number is exact, hash collisions aside;
beyond that it is (k - 1) over the k-th smallest hash as a share of the hash range, with a relative standard error of
about 1 / sqrt(k - 2) (K. Beyer et al., "On synopses for distinct-value estimation under multiset operations", SIGMOD
2007). The union of sketches is the sketch of the union, so neither order nor split changes a bit.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["KEPT_HASHES", "DistinctRows", "row_hashes"]

#: Hashes kept: a relative standard error of 3.1 %, in 4 kB.
KEPT_HASHES = 1024

_PENDING_HASHES = 8192
_WIRE = np.dtype("<u4")


def row_hashes(raws: Iterable[bytes | msgspec.Raw], rows: int) -> NDArray[np.uint32]:
    """A hash of each row's ``features`` as they stand on the wire, uint32 (rows,).

    CRC-32, then the finalizer of MurmurHash3 (A. Appleby, public domain), a bijection that takes away CRC's linearity:
    rows that differ in a counter alone must look random. The same on every machine.
    """
    hashes = np.fromiter(map(crc32, raws), np.uint32, rows)
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    hashes ^= hashes >> np.uint32(16)
    return hashes


class DistinctRows:
    """The smallest :data:`KEPT_HASHES` distinct hashes."""

    __slots__ = ("_bound", "_kept", "_pending", "_pending_hashes")

    def __init__(self) -> None:
        self._kept = np.empty(0, np.uint32)  # sorted, distinct
        self._bound: np.uint32 | None = None  # the largest one kept, once there are enough
        self._pending: list[NDArray[np.uint32]] = []
        self._pending_hashes = 0

    def update(self, hashes: NDArray[np.uint32]) -> None:
        """Take in hashes, uint32 (n,)."""
        if self._bound is not None:
            hashes = hashes[hashes < self._bound]
        if hashes.size:
            self._pending.append(hashes)
            self._pending_hashes += hashes.size
            if self._pending_hashes >= _PENDING_HASHES:
                self._fold()

    def _fold(self) -> None:
        if self._pending:
            self._kept = np.unique(np.concatenate([self._kept, *self._pending]))[:KEPT_HASHES]
            self._pending = []
            self._pending_hashes = 0
            if self._kept.size == KEPT_HASHES:
                self._bound = self._kept[-1]

    def merge(self, other: DistinctRows) -> None:
        """Add the rows of another sketch."""
        other._fold()
        self.update(other._kept)

    def distinct(self) -> float:
        """How many distinct rows there are: exact up to ``KEPT_HASHES - 1``, an estimate from there on."""
        self._fold()
        if self._kept.size < KEPT_HASHES:
            return float(self._kept.size)
        return (KEPT_HASHES - 1) * 2.0**32 / (float(self._kept[-1]) + 1.0)

    @property
    def exact(self) -> bool:
        self._fold()
        return self._kept.size < KEPT_HASHES

    def to_wire(self) -> str:
        """Base64 of the hashes in ascending order, 4 bytes each, little-endian."""
        self._fold()
        return b64encode(self._kept.astype(_WIRE).tobytes()).decode()

    @classmethod
    def from_wire(cls, text: str) -> DistinctRows:
        """From :meth:`to_wire`. Raises ``ValueError`` if damaged."""
        sketch = cls()
        data = b64decode(text, validate=True)
        if len(data) % 4 or len(data) > 4 * KEPT_HASHES:
            raise ValueError(f"a sketch of distinct rows has {len(data)} bytes, expected at most {KEPT_HASHES} hashes")
        sketch.update(np.frombuffer(data, _WIRE).astype(np.uint32))
        return sketch
