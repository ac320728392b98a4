"""What a window's records say about the quality of its data, beside the distributions: mergeable counters.

Kept for all rows of a version together, not for segments: a record that cannot be read has no segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from msgspec import Struct

from driftloop.profiles.feature_keys import FeatureKeys, FeatureKeysWire
from driftloop.profiles.row_hashes import DistinctRows

__all__ = ["QualityStats", "QualityWire"]

Nested = dict[str, dict[str, int]]

#: Kinds of refusals that are told apart at one feature.
MAX_KINDS = 64


class QualityWire(Struct, frozen=True, kw_only=True):
    """:class:`QualityStats` in JSON."""

    refused: Nested
    violations: Nested
    repeated_ids: int
    hashed_rows: int
    distinct_rows: str
    keys: FeatureKeysWire


class QualityStats:
    """Counters of one window.

    ``refused``: records by feature and kind of error whose envelope could be read but not their features or prediction
    (they are dead letters and in no other count; a record sent twice counts twice). ``violations``: rows by feature and
    rule of the spec. ``repeated_ids``: further records with the id of a row of this window, while it was open.
    ``distinct``: a sketch of the distinct rows among the ``hashed_rows``. ``keys``: of a sample of the rows.
    """

    __slots__ = ("distinct", "hashed_rows", "keys", "refused", "repeated_ids", "violations")

    def __init__(self) -> None:
        self.refused: Nested = {}
        self.violations: Nested = {}
        self.repeated_ids = 0
        self.hashed_rows = 0
        self.distinct = DistinctRows()
        self.keys = FeatureKeys()

    def add_refused(self, feature: str, kind: str, records: int = 1) -> None:
        """Count records that could not be read at this feature. Of more than :data:`MAX_KINDS` kinds (names from
        outside) those with the smallest hashes stay, as in :mod:`.bounded_names`."""
        _add(self.refused, feature, kind, records)
        kinds = self.refused[feature]
        if len(kinds) > MAX_KINDS:
            del kinds[max(kinds, key=_rank)]

    def add_violations(self, violations: Mapping[tuple[str, str], int]) -> None:
        """Count rows by (feature, rule)."""
        for (feature, rule), rows in violations.items():
            _add(self.violations, feature, rule, rows)

    @property
    def refused_records(self) -> int:
        return sum(sum(kinds.values()) for kinds in self.refused.values())

    def merge(self, other: QualityStats) -> None:
        """Add the content of another one."""
        for mine, theirs in ((self.refused, other.refused), (self.violations, other.violations)):
            for feature, kinds in theirs.items():
                for kind, count in kinds.items():
                    _add(mine, feature, kind, count)
        self.repeated_ids += other.repeated_ids
        self.hashed_rows += other.hashed_rows
        self.distinct.merge(other.distinct)
        self.keys.merge(other.keys)

    def to_wire(self) -> QualityWire | None:
        """For JSON; equal content gives equal bytes. None if nothing was counted."""
        if not (self.refused or self.violations or self.repeated_ids or self.hashed_rows or self.keys.rows):
            return None
        return QualityWire(
            refused=_sorted(self.refused),
            violations=_sorted(self.violations),
            repeated_ids=self.repeated_ids,
            hashed_rows=self.hashed_rows,
            distinct_rows=self.distinct.to_wire(),
            keys=self.keys.to_wire(),
        )

    @classmethod
    def from_wire(cls, wire: QualityWire | None) -> QualityStats:
        """From :meth:`to_wire`. Raises ``ValueError`` if damaged."""
        stats = cls()
        if wire is not None:
            stats.refused, stats.violations = _sorted(wire.refused), _sorted(wire.violations)
            stats.repeated_ids, stats.hashed_rows = wire.repeated_ids, wire.hashed_rows
            stats.distinct = DistinctRows.from_wire(wire.distinct_rows)
            stats.keys = FeatureKeys.from_wire(wire.keys)
        return stats


def _rank(name: str) -> tuple[bytes, str]:
    return blake2b(name.encode(errors="replace"), digest_size=8).digest(), name


def _add(counts: Nested, feature: str, kind: str, count: int) -> None:
    kinds = counts.setdefault(feature, {})
    kinds[kind] = kinds.get(kind, 0) + count


def _sorted(counts: Nested) -> Nested:
    return {feature: dict(sorted(kinds.items())) for feature, kinds in sorted(counts.items())}
