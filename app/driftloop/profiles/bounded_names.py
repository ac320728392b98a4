"""Names from outside with their counts, in bounded memory and whatever the order.

A bottom-k sample (E. Cohen, H. Kaplan, "Summarizing data using bottom-k sketches", PODC 2007), as for unseen
categories: the names with the smallest hashes are kept. A name in the final sample is in the sample of every part that
holds it, so its count is exact, and neither order nor split changes the result.
"""

from __future__ import annotations

import heapq
from hashlib import blake2b

__all__ = ["KEPT_NAMES", "BoundedNames"]

KEPT_NAMES = 256

_MAX_NAME = 200


class BoundedNames:
    """Counts by name, complete up to :data:`KEPT_NAMES` names. Names are cut to 200 characters."""

    __slots__ = ("_bound", "_counts")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._bound: tuple[bytes, str] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Not to be written to."""
        return self._counts

    def add(self, names: dict[str, int]) -> None:
        """Count names."""
        counts = self._counts
        for name, count in names.items():
            short = name[:_MAX_NAME].encode(errors="replace").decode()
            if short in counts:
                counts[short] += count
            elif self._bound is None or _rank(short) < self._bound:
                counts[short] = count
        if len(counts) >= KEPT_NAMES:
            ranks = heapq.nsmallest(KEPT_NAMES, map(_rank, counts))
            self._counts = {name: counts[name] for _, name in ranks}
            self._bound = ranks[-1]


def _rank(name: str) -> tuple[bytes, str]:
    return blake2b(name.encode(), digest_size=8).digest(), name
