"""Training sets: labeled predictions of one model and a stretch of event time, cut from the log and kept as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Labeled
from driftloop.profiles.columns import (
    FeatureDecoder,
    LabelDecoder,
    LabelValue,
    PredictionDecoder,
    PredictionValue,
)
from driftloop.spec.load import spec_digest
from driftloop.spec.model import ModelSpec
from driftloop.training.column_statistics import ColumnStatistics, column_statistics
from driftloop.training.dataset_manifest import DatasetQuery, OffsetRange, TrainingManifest
from driftloop.training.estimators import feature_frame
from driftloop.training.newest_rows import rank

__all__ = ["OffsetRange", "SplitError", "TrainingManifest", "TrainingSet", "cut", "from_frame"]

_LABEL, _SAID, _TIME, _ID, _VERSION = "@label", "@prediction", "@predicted_at_ms", "@prediction_id", "@model_version"
_KNOWN = "@labeled_at_ms"


class SplitError(ValueError):
    """The rows cannot be split into an earlier and a later part."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """n rows, sorted by (predicted_at_ms, id).

    ``frame``: the features, as :func:`~driftloop.training.estimators.feature_frame` gives them. ``labels`` (n,): int64
    0 or 1, int64 class index, or float64. ``said``: what the model of ``versions`` (n, object) predicted live, float64
    (n,) or (n, k), NaN where unknown. ``predicted_at_ms`` (n,) int64. ``ids`` (n, object). ``labeled_at_ms`` (n,)
    int64: when the label became known, None if that is not known.
    """

    frame: pd.DataFrame
    labels: NDArray[Any]
    predicted_at_ms: NDArray[np.int64]
    said: NDArray[np.float64]
    versions: NDArray[np.object_]
    ids: NDArray[np.object_]
    superseded: int = 0
    unreadable: int = 0
    sources: Sequence[OffsetRange] = field(default=())
    labeled_at_ms: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: slice | NDArray[np.int64]) -> TrainingSet:
        """A stretch of the rows, or those at ascending places."""
        return TrainingSet(
            frame=self.frame.iloc[chosen].reset_index(drop=True),
            labels=self.labels[chosen],
            predicted_at_ms=self.predicted_at_ms[chosen],
            said=self.said[chosen],
            versions=self.versions[chosen],
            ids=self.ids[chosen],
            sources=self.sources,
            labeled_at_ms=None if self.labeled_at_ms is None else self.labeled_at_ms[chosen],
        )

    def followed_by(self, later: TrainingSet) -> TrainingSet:
        """These rows and then others, which are not earlier."""
        if len(self) == 0:
            return later
        return TrainingSet(
            frame=pd.concat([self.frame, later.frame], ignore_index=True),
            labels=np.concatenate([self.labels, later.labels]),
            predicted_at_ms=np.concatenate([self.predicted_at_ms, later.predicted_at_ms]),
            said=np.concatenate([self.said, later.said]),
            versions=np.concatenate([self.versions, later.versions]),
            ids=np.concatenate([self.ids, later.ids]),
            sources=self.sources,
        )

    def split(self, holdout: float) -> tuple[TrainingSet, TrainingSet]:
        """The earlier rows, and about the last ``holdout`` share of them: strictly later in event time.

        Raises :class:`SplitError` if either part would be empty.
        """
        boundary = round(len(self) * (1.0 - holdout))
        if 0 < boundary < len(self):
            # Rows of one instant stay together, in the later part.
            boundary = int(np.searchsorted(self.predicted_at_ms, self.predicted_at_ms[boundary], side="left"))
        if not 0 < boundary < len(self):
            raise SplitError(f"{len(self):,} rows cannot be split into earlier ones and the last {holdout:.0%}")
        return self.rows(slice(0, boundary)), self.rows(slice(boundary, None))

    def manifest(
        self, spec: ModelSpec, *, topic: str, query: DatasetQuery, sha256: str = "", size: int = 0, dvc: bool = False
    ) -> TrainingManifest:
        """The record that is kept beside the Parquet file of this digest and size."""
        return TrainingManifest(
            model_id=spec.model,
            topic=topic,
            sources=sorted(self.sources),
            from_ms=query.from_ms,
            to_ms=query.to_ms,
            rows=len(self),
            superseded=self.superseded,
            unreadable=self.unreadable,
            first_predicted_ms=int(self.predicted_at_ms[0]) if len(self) else query.from_ms,
            last_predicted_ms=int(self.predicted_at_ms[-1]) if len(self) else query.from_ms,
            columns=list(self.frame.columns),
            sha256=sha256,
            size=size,
            spec_digest=spec_digest(spec),
            query=query,
            statistics=self._statistics(spec),
            dvc=dvc,
        )

    def _statistics(self, spec: ModelSpec) -> list[ColumnStatistics]:
        names = np.array(spec.classes, dtype=object)
        labels = names[self.labels] if spec.task == "multiclass" else self.labels.astype(np.float64)
        features = [column_statistics(name, self.frame[name].to_numpy()) for name in self.frame.columns]
        return [column_statistics(_LABEL, labels), *features]

    def to_parquet(self) -> bytes:
        """One Parquet file; the same rows give the same bytes with the same pyarrow."""
        columns: dict[str, Any] = {
            _ID: pa.array(self.ids.tolist(), pa.string()),
            _TIME: pa.array(self.predicted_at_ms, pa.int64()),
            _KNOWN: pa.nulls(len(self), pa.int64()) if self.labeled_at_ms is None else pa.array(self.labeled_at_ms),
            _VERSION: pa.array(self.versions.tolist(), pa.string()),
            _LABEL: pa.array(self.labels),
            _SAID: pa.array(self.said.tolist(), pa.list_(pa.float64()) if self.said.ndim == 2 else pa.float64()),
        }
        for name in self.frame.columns:
            values = self.frame[name]
            if values.dtype != object:
                columns[name] = pa.array(values.to_numpy(), pa.float64())
                continue
            vectors = any(isinstance(value, list) for value in values)
            columns[name] = pa.array(values.tolist(), pa.list_(pa.float64()) if vectors else pa.string())
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer, compression="zstd")
        return buffer.getvalue()

    @classmethod
    def from_parquet(cls, spec: ModelSpec, data: bytes) -> TrainingSet:
        """From :meth:`to_parquet`. Raises ``KeyError`` if a feature of the spec is not in the file."""
        # Not read_table: its threads may still let go of Python objects when a short command ends, and abort that.
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        said = np.array(table.column(_SAID).to_pylist(), dtype=np.float64)
        known = table.column(_KNOWN) if _KNOWN in table.column_names else None
        features = {name: table.column(name).to_pylist() for name in spec.features if name in table.column_names}
        return cls(
            frame=feature_frame(spec, pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in features.items()})),
            labels=table.column(_LABEL).to_numpy(),
            predicted_at_ms=table.column(_TIME).to_numpy().astype(np.int64),
            said=said.reshape(len(table), len(spec.classes)) if spec.task == "multiclass" else said,
            versions=np.array(table.column(_VERSION).to_pylist(), dtype=object),
            ids=np.array(table.column(_ID).to_pylist(), dtype=object),
            labeled_at_ms=None if known is None or known.null_count else known.to_numpy().astype(np.int64),
        )


def cut(
    rows: Iterable[Labeled], spec: ModelSpec, from_ms: int, to_ms: int, sources: Sequence[OffsetRange] = ()
) -> TrainingSet:
    """The training set of the spec's model, of predictions made in [``from_ms``, ``to_ms``).

    ``rows`` may hold anything of ``labeled``, in any order. Of several rows of one prediction the one with the highest
    (revision, labeled_at_ms) counts; of more than ``training.most_rows`` the newest are taken. Rows whose features,
    prediction or label the spec does not allow are left out and counted. The result does not depend on the order of
    ``rows``.
    """
    if spec.task == "ranking":
        raise SplitError(
            f"model {spec.model}: ranking models are watched, but no training set can be cut for them here"
        )
    best: dict[str, Labeled] = {}
    superseded = 0
    for row in rows:
        if row.model_id != spec.model or not from_ms <= row.predicted_at_ms < to_ms:
            continue
        known = best.get(row.prediction_id)
        if known is not None:
            superseded += 1
            if rank(row) <= rank(known):
                continue
        best[row.prediction_id] = row
    ordered = sorted(best.values(), key=lambda row: (row.predicted_at_ms, row.prediction_id))
    ordered = ordered[-spec.training.most_rows :]
    features, labels, said = FeatureDecoder(spec), LabelDecoder(spec), PredictionDecoder(spec)
    kept: list[Labeled] = []
    decoded: list[tuple[Any, LabelValue, PredictionValue]] = []
    for row in ordered:
        try:
            decoded.append((features.decode_row(row.features), labels.decode(row.label), said.decode(row.prediction)))
        except UNDECODABLE:
            continue
        kept.append(row)
    shape = (len(kept), len(spec.classes)) if spec.task == "multiclass" else (len(kept),)
    return TrainingSet(
        frame=feature_frame(spec, features.columns([parts[0] for parts in decoded])),
        labels=np.array([parts[1] for parts in decoded], dtype=_label_type(spec)),
        predicted_at_ms=np.array([row.predicted_at_ms for row in kept], dtype=np.int64),
        said=np.array([parts[2] for parts in decoded], dtype=np.float64).reshape(shape),
        versions=np.array([row.model_version for row in kept], dtype=object),
        ids=np.array([row.prediction_id for row in kept], dtype=object),
        superseded=superseded,
        unreadable=len(ordered) - len(kept),
        sources=tuple(sources),
        labeled_at_ms=np.array([row.labeled_at_ms for row in kept], dtype=np.int64),
    )


def from_frame(
    spec: ModelSpec, frame: pd.DataFrame, labels: NDArray[Any], predicted_at_ms: NDArray[np.int64]
) -> TrainingSet:
    """A training set from rows that never were on a topic, for a model's first version. Any order."""
    times = np.asarray(predicted_at_ms, dtype=np.int64)
    if not len(frame) == len(labels) == len(times):
        raise ValueError(
            f"model {spec.model}: {len(frame)} rows of features, {len(labels)} labels and {len(times)} times "
            "must be equally many"
        )
    order = np.argsort(times, kind="stable")
    shape = (len(times), len(spec.classes)) if spec.task == "multiclass" else (len(times),)
    return TrainingSet(
        frame=feature_frame(spec, frame.iloc[order].reset_index(drop=True)),
        labels=np.asarray(labels)[order].astype(_label_type(spec)),
        predicted_at_ms=times[order],
        said=np.full(shape, np.nan),
        versions=np.full(len(times), "", dtype=object),
        ids=np.array([f"row-{row}" for row in order], dtype=object),
    )


def _label_type(spec: ModelSpec) -> type[np.float64] | type[np.int64]:
    return np.float64 if spec.task == "regression" else np.int64
