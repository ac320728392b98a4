"""Categorical features: counts by the reference's categories, and a bounded record of unseen ones."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

from msgspec import Struct

__all__ = ["MAX_CATEGORIES", "MAX_UNSEEN", "CategoricalReference", "CategoricalSummary", "CategoricalWire"]

#: A reference keeps the counts of so many categories, the most frequent ones; the rest count together as ``other``.
MAX_CATEGORIES = 10_000

#: A window keeps the names and counts of so many unseen categories; how many rows were unseen is always exact.
MAX_UNSEEN = 256

# Names of unseen categories are cut to this many characters: they come from outside and are only shown.
_MAX_NAME = 200


class CategoricalReference(Struct, frozen=True, kw_only=True, tag_field="kind", tag="categorical", dict=True):
    """A categorical feature's reference distribution: rows by category, in the order of the names.

    ``other`` counts the rows of categories beyond the cap. ``rows`` counts all that are not missing.
    """

    categories: dict[str, int]
    rows: int
    missing: int
    other: int = 0

    @classmethod
    def build(cls, values: Sequence[str | None], max_categories: int = MAX_CATEGORIES) -> Self:
        """From raw values, None meaning missing."""
        counts = Counter(values)
        missing = counts.pop(None, 0)
        present = {str(name): count for name, count in counts.items()}
        kept = heapq.nsmallest(max_categories, present.items(), key=lambda item: (-item[1], item[0]))
        rows = sum(present.values())
        return cls(
            categories=dict(sorted(kept)),
            rows=rows,
            missing=missing,
            other=rows - sum(count for _, count in kept),
        )

    def check(self, name: str) -> None:
        """Raise ``ValueError`` if the parts do not fit together (after decoding)."""
        if sum(self.categories.values()) + self.other != self.rows:
            raise ValueError(f"the reference of {name!r} is damaged: its counts do not add up to {self.rows} rows")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.categories))

    @cached_property
    def expected_unseen(self) -> int:
        """So many of as many further rows would have a category that is not kept, if nothing changed: those beyond the
        cap, and as many as there are categories seen once. I. J. Good, "The population frequencies of species and the
        estimation of population parameters", Biometrika 40, 1953. Names that never end, such as customers or postcodes,
        would always look new otherwise."""
        return self.other + sum(count == 1 for count in self.categories.values())

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What others derive from this reference alone and keep with it; not part of its content."""
        return {}


class CategoricalWire(Struct, frozen=True, kw_only=True, tag_field="kind", tag="categorical"):
    """A :class:`CategoricalSummary` in JSON."""

    missing: int
    counts: dict[str, int]
    unseen: int
    unseen_names: dict[str, int]


def _rank(name: str) -> tuple[bytes, str]:
    return blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), name


class CategoricalSummary:
    """A window's values of one categorical feature, counted by the reference's categories.

    Of categories that the reference has not, the :data:`MAX_UNSEEN` with the smallest hashes are kept with their exact
    counts (a bottom-k sample: E. Cohen, H. Kaplan, "Summarizing data using bottom-k sketches", PODC 2007). A category
    in the final sample is in the sample of every part that holds it, so neither order nor split changes the result; up
    to the cap the record is complete.
    """

    __slots__ = ("_bound", "_counts", "_missing", "_unseen", "_unseen_names", "reference")

    def __init__(self, reference: CategoricalReference) -> None:
        self.reference = reference
        self._counts: dict[str, int] = {}
        self._unseen = 0
        self._unseen_names: dict[str, int] = {}
        self._bound: tuple[bytes, str] | None = None  # the largest rank in a full sample
        self._missing = 0

    def update(self, values: Iterable[str | None]) -> None:
        """Count values, None meaning missing."""
        batch = Counter(values)
        self._missing += batch.pop(None, 0)
        known = self.reference.categories
        counts = self._counts
        strangers: dict[str, int] = {}
        for name, count in batch.items():
            if name in known:
                counts[name] = counts.get(name, 0) + count
            else:
                strangers[name] = count  # type: ignore[index]
        if strangers:
            self._unseen += sum(strangers.values())
            short: Counter[str] = Counter()
            for name, count in strangers.items():
                short[name[:_MAX_NAME].encode(errors="replace").decode()] += count
            self._add_unseen(short)

    def add_missing(self, rows: int) -> None:
        """Count rows in which the feature is missing."""
        self._missing += rows

    def _add_unseen(self, names: dict[str, int]) -> None:
        sample = self._unseen_names
        for name, count in names.items():
            if name in sample:
                sample[name] += count
            elif self._bound is None or _rank(name) < self._bound:
                sample[name] = count
        if len(sample) >= MAX_UNSEEN:
            ranks = heapq.nsmallest(MAX_UNSEEN, map(_rank, sample))
            self._unseen_names = {name: sample[name] for _, name in ranks}
            self._bound = ranks[-1]

    def merge(self, other: CategoricalSummary) -> None:
        """Add the content of another summary of the same reference."""
        for name, count in other._counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
        self._unseen += other._unseen
        self._add_unseen(dict(other._unseen_names))
        self._missing += other._missing

    def copy(self) -> CategoricalSummary:
        twin = CategoricalSummary(self.reference)
        twin.merge(self)
        return twin

    @property
    def counts(self) -> dict[str, int]:
        """Rows by category of the reference, only those with any. Not to be written to."""
        return self._counts

    @property
    def rows(self) -> int:
        """Rows that are not missing, unseen ones included."""
        return sum(self._counts.values()) + self._unseen

    @property
    def missing(self) -> int:
        return self._missing

    @property
    def unseen(self) -> int:
        """Rows with a category that the reference does not keep."""
        return self._unseen

    @property
    def unseen_names(self) -> dict[str, int]:
        """Unseen categories with their rows: all of them up to :data:`MAX_UNSEEN`, beyond it a sample. Names are cut to
        200 characters."""
        return self._unseen_names

    def to_wire(self) -> CategoricalWire:
        """For JSON; equal content gives equal bytes (names in order)."""
        return CategoricalWire(
            missing=self._missing,
            counts=dict(sorted(self._counts.items())),
            unseen=self._unseen,
            unseen_names=dict(sorted(self._unseen_names.items())),
        )

    @classmethod
    def from_wire(cls, wire: CategoricalWire, reference: CategoricalReference) -> CategoricalSummary:
        """The summary that :meth:`to_wire` described. Raises ``ValueError`` if it does not fit the reference."""
        summary = cls(reference)
        if not wire.counts.keys() <= reference.categories.keys():
            raise ValueError("a summary counts categories that its reference has not: was it made with another one?")
        summary._counts = dict(wire.counts)
        summary._unseen = wire.unseen
        summary._add_unseen(wire.unseen_names)
        summary._missing = wire.missing
        return summary

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CategoricalSummary):
            return NotImplemented
        return self.to_wire() == other.to_wire()

    __hash__ = None  # type: ignore[assignment]
