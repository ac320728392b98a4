"""What a window's predictions alone tell: one summary per feature, against a reference profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from driftloop.events.decoding import DAMAGED, UNDECODABLE, Count
from driftloop.profiles.categorical import CategoricalSummary, CategoricalWire
from driftloop.profiles.columns import ESTIMATES, Columns
from driftloop.profiles.numeric import NumericReference, NumericSummary, NumericWire
from driftloop.profiles.quality import QualityStats, QualityWire
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.row_sample import RowSample, SampleWire

__all__ = ["InputStats", "RowEstimator", "RowSums"]


class RowSums(Protocol):
    """Mergeable sums over rows of numbers, such as those of estimated performance."""

    def update(self, rows: NDArray[np.float64]) -> None: ...

    def merge(self, other: Self) -> None: ...

    def copy(self) -> Self: ...

    def to_wire(self) -> dict[str, Any]: ...

    def load(self, wire: Mapping[str, Any]) -> None: ...


class RowEstimator(Protocol):
    """Makes sums; those of equal settings can be merged."""

    @property
    def settings(self) -> list[Any]: ...

    def new_sums(self) -> Any: ...


class _EstimatesWire(Struct, frozen=True):
    settings: list[Any]
    sums: dict[str, Any]


class _InputWire(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``reference`` begins the digest of the profile that the counts refer to."""

    reference: str
    rows: Count
    features: dict[str, NumericWire | CategoricalWire]
    quality: QualityWire | None = None
    sample: SampleWire | UnsetType = UNSET
    estimates: _EstimatesWire | None = None


_DECODER = msgspec.json.Decoder(_InputWire)


class InputStats:
    """Mergeable statistics of a window's features (and predictions), counted against a reference profile.

    Content depends on the rows alone, not on how they were split into updates nor on the order of merges. With an
    ``estimator`` the column :data:`~driftloop.profiles.columns.ESTIMATES` is summed up too; ``estimates`` is None
    without one, and once something was merged that has none.
    """

    __slots__ = ("estimates", "estimator", "features", "profile", "quality", "rows", "sample")

    def __init__(self, profile: ReferenceProfile, estimator: RowEstimator | None = None) -> None:
        self.profile = profile
        self.estimator = estimator
        self.estimates: Any = None if estimator is None else estimator.new_sums()
        self.rows = 0
        self.features: dict[str, NumericSummary | CategoricalSummary] = {
            name: NumericSummary(reference)
            if isinstance(reference, NumericReference)
            else CategoricalSummary(reference)
            for name, reference in profile.features.items()
        }
        #: Fed apart from :meth:`update`, by whoever has the records and not only columns.
        self.quality = QualityStats()
        #: A sample of the rows, if the profile has one to compare it with.
        self.sample = None if profile.sample is None else RowSample(profile.sample.schema)

    def update(self, columns: Columns, rows: int, ids: Sequence[str] | None = None) -> None:
        """Count ``rows`` rows. A feature of the profile that has no column counts as missing in all of them; a column
        that the profile has not is ignored. Raises ``ValueError``, and counts nothing, if a column has another length.
        ``ids`` (prediction ids) let the rows take part in the sample; without them they are counted and not sampled.
        """
        if self.profile.derives:
            columns = {**columns, **self.profile.derive(columns)}
        for name in self.features:
            column = columns.get(name)
            if column is not None and len(column) != rows:
                raise ValueError(f"column {name!r} has {len(column)} values, expected {rows}")
        if self.sample is not None and ids is not None:
            self.sample.update(columns, ids)
        if self.estimates is not None:
            terms = columns.get(ESTIMATES)
            if not isinstance(terms, np.ndarray) or len(terms) != rows:
                raise ValueError(f"expected a column {ESTIMATES!r} of {rows} rows to estimate performance from")
            self.estimates.update(terms)
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
        if self.estimates is not None and other.estimates is not None:
            self.estimates.merge(other.estimates)
        else:
            self.estimates = None
        for name, summary in self.features.items():
            summary.merge(other.features[name])  # type: ignore[arg-type]  # same profile, same kind
        self.quality.merge(other.quality)
        if self.sample is not None and other.sample is not None:
            self.sample.merge(other.sample)

    def copy(self) -> InputStats:
        twin = InputStats(self.profile, self.estimator)
        twin.merge(self)
        return twin

    def encode(self) -> bytes:
        """Canonical JSON: equal content gives equal bytes."""
        wire = _InputWire(
            reference=self.profile.digest()[:16],
            rows=self.rows,
            features={name: self.features[name].to_wire() for name in sorted(self.features)},
            quality=self.quality.to_wire(),
            sample=UNSET if self.sample is None else self.sample.to_wire(),
            estimates=None
            if self.estimates is None or self.estimator is None
            else _EstimatesWire(self.estimator.settings, self.estimates.to_wire()),
        )
        return msgspec.json.encode(wire)

    @classmethod
    def decode(cls, data: bytes, profile: ReferenceProfile, estimator: RowEstimator | None = None) -> InputStats:
        """From :meth:`encode` and the same profile. Raises ``ValueError`` if damaged or made with another profile.

        Without the same ``estimator`` (its settings are in the spec, which may have changed) there are no estimates.
        """
        try:
            wire = _DECODER.decode(data)
        except UNDECODABLE as error:
            raise ValueError(f"not input statistics: {error}") from error
        if wire.reference != profile.digest()[:16] or wire.features.keys() != profile.features.keys():
            raise ValueError(
                f"these input statistics were not counted against the reference profile of {profile.model_id} "
                f"{profile.model_version}: give the profile that they were made with"
            )
        stats = cls(profile, estimator)
        try:
            stats._restore(wire, profile)
        except ValueError:
            raise
        except DAMAGED as error:
            raise ValueError(f"damaged input statistics: {type(error).__name__}: {error}") from error
        return stats

    def _restore(self, wire: _InputWire, profile: ReferenceProfile) -> None:
        self.rows = wire.rows
        self.quality = QualityStats.from_wire(wire.quality)
        if self.estimator is None or wire.estimates is None or wire.estimates.settings != self.estimator.settings:
            self.estimates = None
        else:
            assert self.estimates is not None, "an estimator comes with its sums"
            self.estimates.load(wire.estimates.sums)
        for name, feature in wire.features.items():
            reference = profile.features[name]
            if isinstance(reference, NumericReference):
                if not isinstance(feature, NumericWire):
                    raise ValueError(f"the input statistics of {name!r} are not numeric, but its reference is")
                self.features[name] = NumericSummary.from_wire(feature, reference)
            else:
                if not isinstance(feature, CategoricalWire):
                    raise ValueError(f"the input statistics of {name!r} are not categorical, but its reference is")
                self.features[name] = CategoricalSummary.from_wire(feature, reference)
        if profile.sample is not None and isinstance(wire.sample, SampleWire):
            self.sample = RowSample.from_wire(wire.sample, profile.sample.schema)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InputStats):
            return NotImplemented
        return self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]
