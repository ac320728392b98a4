"""What a window's predictions alone tell: one summary per feature, against a reference profile."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import Struct

from driftloop.profiles.categorical import CategoricalSummary, CategoricalWire
from driftloop.profiles.columns import Columns
from driftloop.profiles.numeric import NumericReference, NumericSummary, NumericWire
from driftloop.profiles.quality import QualityStats, QualityWire
from driftloop.profiles.reference import ReferenceProfile

__all__ = ["InputStats"]


class _InputWire(Struct, frozen=True, kw_only=True):
    """``reference`` begins the digest of the profile that the counts refer to."""

    reference: str
    rows: int
    features: dict[str, NumericWire | CategoricalWire]
    quality: QualityWire | None = None


_DECODER = msgspec.json.Decoder(_InputWire)


class InputStats:
    """Mergeable statistics of a window's features (and predictions), counted against a reference profile.

    Content depends on the rows alone, not on how they were split into updates nor on the order of merges.
    """

    __slots__ = ("features", "profile", "quality", "rows")

    def __init__(self, profile: ReferenceProfile) -> None:
        self.profile = profile
        self.rows = 0
        self.features: dict[str, NumericSummary | CategoricalSummary] = {
            name: NumericSummary(reference)
            if isinstance(reference, NumericReference)
            else CategoricalSummary(reference)
            for name, reference in profile.features.items()
        }
        #: Fed apart from :meth:`update`, by whoever has the records and not only columns.
        self.quality = QualityStats()

    def update(self, columns: Columns, rows: int) -> None:
        """Count ``rows`` rows. A feature of the profile that has no column counts as missing in all of them; a column
        that the profile has not is ignored. Raises ``ValueError``, and counts nothing, if a column has another length.
        """
        for name in self.features:
            column = columns.get(name)
            if column is not None and len(column) != rows:
                raise ValueError(f"column {name!r} has {len(column)} values, expected {rows}")
        self.rows += rows
        for name, summary in self.features.items():
            column = columns.get(name)
            if column is None:
                summary.add_missing(rows)
            elif isinstance(summary, NumericSummary):
                summary.update(np.asarray(column, dtype=np.float64))
            else:
                summary.update(column)

    def merge(self, other: InputStats) -> None:
        """Add the content of another one of the same profile. Raises ``ValueError`` for another profile."""
        if other.profile is not self.profile and other.profile.digest() != self.profile.digest():
            raise ValueError(
                f"statistics against the references of {other.profile.model_id} {other.profile.model_version} and "
                f"{self.profile.model_id} {self.profile.model_version} cannot be merged"
            )
        self.rows += other.rows
        for name, summary in self.features.items():
            summary.merge(other.features[name])  # type: ignore[arg-type]  # same profile, same kind
        self.quality.merge(other.quality)

    def copy(self) -> InputStats:
        twin = InputStats(self.profile)
        twin.merge(self)
        return twin

    def encode(self) -> bytes:
        """Canonical JSON: equal content gives equal bytes."""
        wire = _InputWire(
            reference=self.profile.digest()[:16],
            rows=self.rows,
            features={name: self.features[name].to_wire() for name in sorted(self.features)},
            quality=self.quality.to_wire(),
        )
        return msgspec.json.encode(wire)

    @classmethod
    def decode(cls, data: bytes, profile: ReferenceProfile) -> InputStats:
        """From :meth:`encode` and the same profile. Raises ``ValueError`` if damaged or made with another profile."""
        try:
            wire = _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise ValueError(f"not input statistics: {error}") from error
        if wire.reference != profile.digest()[:16] or wire.features.keys() != profile.features.keys():
            raise ValueError(
                f"these input statistics were not counted against the reference profile of {profile.model_id} "
                f"{profile.model_version}: give the profile that they were made with"
            )
        stats = cls(profile)
        stats.rows = wire.rows
        stats.quality = QualityStats.from_wire(wire.quality)
        for name, feature in wire.features.items():
            reference = profile.features[name]
            if isinstance(reference, NumericReference):
                if not isinstance(feature, NumericWire):
                    raise ValueError(f"the input statistics of {name!r} are not numeric, but its reference is")
                stats.features[name] = NumericSummary.from_wire(feature, reference)
            else:
                if not isinstance(feature, CategoricalWire):
                    raise ValueError(f"the input statistics of {name!r} are not categorical, but its reference is")
                stats.features[name] = CategoricalSummary.from_wire(feature, reference)
        return stats

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InputStats):
            return NotImplemented
        return self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]
