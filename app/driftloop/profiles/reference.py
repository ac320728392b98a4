"""The reference of a model version: how its features, its predictions and its performance looked when it was made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, Self

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType, field
from numpy.typing import NDArray

from driftloop.profiles.categorical import CategoricalReference
from driftloop.profiles.columns import PREDICTION, Columns, select_rows
from driftloop.profiles.derived import derive, judged_kinds, vocabulary
from driftloop.profiles.estimators import EstimatorTables
from driftloop.profiles.numeric import MAX_ANCHORS, NumericReference
from driftloop.profiles.reference_sample import ReferenceSample
from driftloop.profiles.segments import segment_rows
from driftloop.spec.model import ModelSpec

__all__ = ["LossReference", "MetricReference", "ReferenceProfile", "WindowStatistics"]

#: A segment has fewer rows, and there may be many.
MAX_SEGMENT_ANCHORS = 128

#: Fields of a profile that the first profiles did not have; all of them may be empty.
_CAME_LATER = ("sample", "importances", "vocabularies", "vectors", "estimators", "losses", "windows")


class MetricReference(Struct, frozen=True, kw_only=True):
    """A metric's value on validation data, with its interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None
    rows: int = 0


class LossReference(Struct, frozen=True, kw_only=True):
    """The losses of validation data (:mod:`driftloop.performance.losses`): their mean and sample variance, in [0, 1],
    and the mean of the errors. ``loss_mean``, ``loss_variance`` None: not known. ``scale``: the absolute error that
    counts as 1."""

    rows: int
    error_mean: float
    loss_mean: float | None = None
    loss_variance: float | None = None
    scale: float = 1.0


class WindowStatistics(Struct, frozen=True, kw_only=True):
    """What the drift methods say of the reference's own windows: its rows cut by ``window_ms``, each piece against the
    rest. ``features`` has, by feature and method, the statistics of the pieces in order of time."""

    window_ms: int
    features: dict[str, dict[str, list[float]]]


class ReferenceProfile(Struct, frozen=True, kw_only=True, dict=True):
    """Distributions of the features (and of :data:`PREDICTION`) and the metrics of one model version.

    ``segments`` holds, by segment key (``"origin=JFK"``), the profile of the segment's own rows, so that a segment is
    compared with itself and not with everybody. ``losses`` are those of all rows, for concept drift. ``label_mean`` is
    the base rate or mean label (0.0 if unknown); [``from_ms``, ``to_ms``) is the event time of the data it was made
    from. ``windows`` is there if the times of its rows were known, one for each length of window that is judged.
    """

    model_id: str
    model_version: str
    features: dict[str, NumericReference | CategoricalReference]
    rows: int
    metrics: dict[str, MetricReference] = field(default_factory=dict)
    label_mean: float = 0.0
    from_ms: int = 0
    to_ms: int = 0
    segments: dict[str, ReferenceProfile] = field(default_factory=dict)
    #: What is tested on samples of rows is tested against these rows of the reference.
    sample: ReferenceSample | None = None
    #: How much the model's loss grows when a feature's values are shuffled, by feature, as measured in training.
    importances: dict[str, float] = field(default_factory=dict)
    #: Words of the reference by text feature, and the names of the vector features.
    vocabularies: dict[str, list[str]] = field(default_factory=dict)
    vectors: list[str] = field(default_factory=list)
    estimators: EstimatorTables | None = None
    losses: LossReference | None = None
    windows: list[WindowStatistics] | UnsetType = UNSET

    @classmethod
    def build(
        cls,
        spec: ModelSpec,
        columns: Columns,
        *,
        model_version: str,
        metrics: Mapping[str, MetricReference] | None = None,
        label_mean: float = 0.0,
        from_ms: int = 0,
        to_ms: int = 0,
        importances: Mapping[str, float] | None = None,
        estimators: EstimatorTables | None = None,
        losses: LossReference | None = None,
    ) -> Self:
        """From columns of all features of the spec, and of :data:`PREDICTION` if it is to be watched.

        Other columns are ignored. Raises ``ValueError`` for a missing column, unequal lengths or no rows.
        """
        of_rows = partial(
            cls._of_rows, spec, model_version=model_version, label_mean=label_mean, from_ms=from_ms, to_ms=to_ms
        )
        whole = of_rows(columns, MAX_ANCHORS)
        segments: dict[str, ReferenceProfile] = {
            key: of_rows(select_rows(columns, rows), MAX_SEGMENT_ANCHORS)
            for names in spec.segments
            for key, rows in segment_rows(names, columns).items()
        }
        return msgspec.structs.replace(
            whole,
            metrics=dict(sorted((metrics or {}).items())),
            segments=segments,
            sample=ReferenceSample.build(spec, columns, whole.rows),
            importances=dict(sorted((importances or {}).items())),
            estimators=estimators,
            losses=losses,
        )

    @classmethod
    def _of_rows(
        cls,
        spec: ModelSpec,
        columns: Columns,
        max_anchors: int,
        *,
        model_version: str,
        label_mean: float,
        from_ms: int,
        to_ms: int,
    ) -> Self:
        absent = [name for name in spec.features if name not in columns]
        if absent:
            raise ValueError(
                f"the reference data of model {spec.model!r} has no column for feature {absent[0]!r}; "
                f"it has {sorted(columns)}"
            )
        kinds: dict[str, str] = judged_kinds(spec)
        vocabularies = {
            name: vocabulary([str(text) if text is not None else None for text in columns[name]])
            for name, feature in spec.features.items()
            if feature.kind == "text"
        }
        vectors = [name for name, feature in spec.features.items() if feature.kind == "vector"]
        if vectors or vocabularies:
            known = {name: frozenset(words) for name, words in vocabularies.items()}
            columns = {**columns, **derive(columns, vectors, known)}
        if PREDICTION in columns:
            kinds[PREDICTION] = "categorical" if spec.task in ("multiclass", "ranking") else "numeric"
        lengths = {name: len(columns[name]) for name in kinds}
        rows = next(iter(lengths.values()))
        if set(lengths.values()) != {rows}:
            raise ValueError(f"the reference columns of model {spec.model!r} have unequal lengths: {lengths}")
        if not rows:
            raise ValueError(f"the reference data of model {spec.model!r} has no rows")
        if not math.isfinite(label_mean):
            raise ValueError(f"the label mean of model {spec.model!r} must be a finite number, got {label_mean}")
        features: dict[str, NumericReference | CategoricalReference] = {}
        for name, kind in sorted(kinds.items()):
            column = columns[name]
            if kind == "numeric":
                features[name] = NumericReference.build(np.asarray(column, dtype=np.float64), max_anchors)
            else:
                features[name] = CategoricalReference.build(list(column))
        return cls(
            model_id=spec.model,
            model_version=model_version,
            features=features,
            rows=rows,
            label_mean=label_mean,
            from_ms=from_ms,
            to_ms=to_ms,
            vocabularies=vocabularies,
            vectors=vectors,
        )

    @cached_property
    def derives(self) -> bool:
        """Whether there are vector or text features, of which numeric columns are made."""
        return bool(self.vectors or self.vocabularies)

    def derive(self, columns: Columns) -> dict[str, NDArray[np.float64]]:
        """The columns made from the vector and text features among ``columns``."""
        return derive(columns, self.vectors, self._known_words)

    @cached_property
    def _known_words(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(words) for name, words in self.vocabularies.items()}

    def for_segment(self, segment: str) -> ReferenceProfile:
        """The profile that a segment's rows are compared with (``""``: all rows). A segment that the reference data
        did not have gets one without features: nothing can be said about it."""
        if not segment:
            return self
        known = self.segments.get(segment)
        if known is None:
            known = self._absent.get(segment)
        if known is None:
            known = self._absent[segment] = msgspec.structs.replace(
                self,
                features={},
                metrics={},
                segments={},
                rows=0,
                sample=None,
                vocabularies={},
                vectors=[],
                estimators=None,
                losses=None,
                windows=UNSET,
            )
        return known

    @cached_property
    def _absent(self) -> dict[str, ReferenceProfile]:
        return {}

    def encode(self) -> bytes:
        """Canonical JSON: equal content gives equal bytes. What came into profiles later is not written where there is
        none of it: an older profile keeps its digest, which the statistics counted against it begin with."""
        return msgspec.json.encode(self._without_nothing(), order="deterministic")

    def _without_nothing(self) -> Self:
        nothing: dict[str, Any] = {name: UNSET for name in _CAME_LATER if not getattr(self, name)}
        segments = {key: part._without_nothing() for key, part in self.segments.items()}
        return msgspec.structs.replace(self, segments=segments, **nothing)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """From :meth:`encode`. Raises ``ValueError`` (``msgspec.ValidationError`` is one) if it is damaged."""
        try:
            profile = msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a reference profile: {error}") from error
        parts: list[ReferenceProfile] = [profile, *profile.segments.values()]
        for part in parts:
            for name, reference in part.features.items():
                reference.check(name)
        if profile.sample is not None:
            profile.sample.check()
        if profile.estimators is not None:
            profile.estimators.check()
        return profile

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.encode()).hexdigest()
