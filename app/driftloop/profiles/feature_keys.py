"""Which keys the ``features`` objects have, looked at in a sample of the rows.

Decoding is by the schema and skips other keys, so they are looked for in about one row in 16. Whether a row is in the
sample hangs on its features and event time alone: neither batches, nor offsets, nor partitions change the sample.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.bounded_names import BoundedNames

__all__ = ["SAMPLED_ONE_IN", "FeatureKeys", "FeatureKeysWire", "sampled_rows"]

SAMPLED_ONE_IN = 16

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def sampled_rows(hashes: NDArray[np.uint32], times_ms: NDArray[np.int64]) -> NDArray[np.intp]:
    """Positions of the rows in the sample, by their hashes and event times, both (n,).

    Fibonacci hashing (D. Knuth, The Art of Computer Programming 3, 6.4): the top bits of a product with 2^64 / phi.
    """
    mixed = (times_ms.astype(np.uint64) << np.uint64(32)) ^ times_ms.astype(np.uint64) ^ hashes
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    positions: NDArray[np.intp] = np.flatnonzero((mixed >> np.uint64(40)) % np.uint64(SAMPLED_ONE_IN) == 0)
    return positions


class FeatureKeysWire(msgspec.Struct, frozen=True, kw_only=True):
    """:class:`FeatureKeys` in JSON."""

    rows: int
    absent: dict[str, int]
    extra_rows: int
    extra: dict[str, int]


class FeatureKeys:
    """Counts over sampled rows: ``rows`` looked at, ``absent`` rows by feature whose key is not there (null is),
    ``extra_rows`` with any key that the spec has not, ``extra`` rows by such key, at most 256 names."""

    __slots__ = ("absent", "extra", "extra_rows", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.absent: dict[str, int] = {}
        self.extra_rows = 0
        self.extra = BoundedNames()

    def update(self, raws: Iterable[bytes | msgspec.Raw], known: frozenset[str]) -> None:
        """Look at the keys of rows; ``known`` are the spec's features."""
        for raw in raws:
            self.rows += 1
            keys = _decode(raw).keys()
            if keys == known:
                continue
            for name in known - keys:
                self.absent[name] = self.absent.get(name, 0) + 1
            extra = keys - known
            if extra:
                self.extra_rows += 1
                self.extra.add(dict.fromkeys(extra, 1))

    def merge(self, other: FeatureKeys) -> None:
        """Add the content of another one."""
        self.rows += other.rows
        for name, rows in other.absent.items():
            self.absent[name] = self.absent.get(name, 0) + rows
        self.extra_rows += other.extra_rows
        self.extra.add(dict(other.extra.counts))

    def to_wire(self) -> FeatureKeysWire:
        """For JSON; equal content gives equal bytes (names in order)."""
        return FeatureKeysWire(
            rows=self.rows,
            absent=dict(sorted(self.absent.items())),
            extra_rows=self.extra_rows,
            extra=dict(sorted(self.extra.counts.items())),
        )

    @classmethod
    def from_wire(cls, wire: FeatureKeysWire) -> FeatureKeys:
        keys = cls()
        keys.rows, keys.extra_rows = wire.rows, wire.extra_rows
        keys.absent = dict(wire.absent)
        keys.extra.add(wire.extra)
        return keys
