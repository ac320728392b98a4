"""A stratified random sample of a stream: mergeable, and the same for any order of its rows.

Each key gets a pseudo-random priority from the seed and itself, and each stratum keeps its ``rows`` keys of the lowest
priority (bottom-k sampling: E. Cohen and H. Kaplan, "Summarizing data using bottom-k sketches", PODC 2007). How many of
them each stratum contributes is settled at the end, from the strata's exact counts. Neither knows an order, so two
samples of two parts of the rows merge into the sample of all of them, to the last key.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

__all__ = ["Reservoir", "quotas"]

Stratum = TypeVar("Stratum", bound=Hashable)


def quotas(counts: Mapping[Stratum, int], rows: int) -> dict[Stratum, int]:
    """How many of ``rows`` each stratum contributes; their sum is ``min(rows, sum of counts)``.

    One for each stratum, so that no rare one vanishes, and the rest in proportion to the counts less one, by the
    largest remainder; with fewer rows than strata in proportion to the counts. Ties go by the stratum's ``repr``.
    """
    total, strata = sum(counts.values()), len(counts)
    if rows >= total:
        return dict(counts)
    base = 1 if rows >= strata else 0
    weights = {stratum: count - base for stratum, count in counts.items()}
    left, whole = rows - base * strata, total - base * strata
    # Whole numbers: floats would round the remainders, and ties would be broken by chance.
    shares = {stratum: divmod(left * weight, whole) for stratum, weight in weights.items()}
    found = {stratum: base + share for stratum, (share, _) in shares.items()}
    short = rows - sum(found.values())
    for stratum in sorted(shares, key=lambda stratum: (-shares[stratum][1], repr(stratum)))[:short]:
        found[stratum] += 1
    return found


class Reservoir:
    """A sample of ``rows`` keys (texts, each added once), of any number of strata.

    Memory: at most ``rows`` keys for each stratum.

    >>> sample = Reservoir(2, seed=0)
    >>> for key in ("a", "b", "c", "d"):
    ...     sample.add("early" if key < "c" else "late", key)
    >>> len(sample.chosen())
    2
    """

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._counts: dict[Hashable, int] = {}
        # Heaps with the highest priority on top, which is the next to go.
        self._kept: dict[Hashable, list[tuple[int, str]]] = {}

    def add(self, stratum: Hashable, key: str) -> None:
        """Take in a key, which must not have been added before."""
        self._counts[stratum] = self._counts.get(stratum, 0) + 1
        self._keep(stratum, (-self._priority(key), key))

    def merge(self, other: Reservoir) -> None:
        """Take in the sample of other keys, made with the same ``rows`` and ``seed``. Raises ``ValueError``."""
        if (self._rows, self._seed) != (other._rows, other._seed):
            raise ValueError(
                f"a sample of {self._rows} rows by seed {self._seed} cannot be merged with one of {other._rows} rows "
                f"by seed {other._seed}"
            )
        for stratum, count in other._counts.items():
            self._counts[stratum] = self._counts.get(stratum, 0) + count
            for item in other._kept[stratum]:
                self._keep(stratum, item)

    def chosen(self) -> set[str]:
        """The sample's keys."""
        share = quotas(self._counts, self._rows)
        return {key for stratum, kept in self._kept.items() for _, key in self._lowest(kept, share[stratum])}

    def _keep(self, stratum: Hashable, item: tuple[int, str]) -> None:
        kept = self._kept.setdefault(stratum, [])
        if len(kept) < self._rows:
            heapq.heappush(kept, item)
        else:
            heapq.heappushpop(kept, item)

    @staticmethod
    def _lowest(kept: Iterable[tuple[int, str]], count: int) -> list[tuple[int, str]]:
        return heapq.nlargest(count, kept)

    def _priority(self, key: str) -> int:
        digest = hashlib.blake2b(key.encode(), digest_size=8, key=self._seed.to_bytes(8, "big"))
        return int.from_bytes(digest.digest(), "big")
