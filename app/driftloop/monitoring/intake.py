"""Decoding records into typed rows, and telling the bad ones apart with a reason each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.events.batch import RecordBatch
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Label, Prediction
from driftloop.events.readable import unreadable
from driftloop.events.time import NEVER_MS, format_time
from driftloop.monitoring.catalog import Catalog, ModelContext, VersionContext
from driftloop.monitoring.outputs import DeadLetter
from driftloop.profiles.columns import (
    ESTIMATES,
    PREDICTION,
    FeatureDecoder,
    LabelValue,
    PredictionValue,
    prediction_column,
    select_rows,
)
from driftloop.profiles.refusals import refusal_of_features, refusal_of_prediction
from driftloop.profiles.row_hashes import row_hashes

__all__ = ["Intake", "LabelsTaken", "Limits", "PredictionRows", "PredictionsTaken", "RefusedPrediction"]

_decode_prediction = msgspec.json.Decoder(Prediction).decode
_decode_label = msgspec.json.Decoder(Label).decode


@dataclass(frozen=True)
class Limits:
    """Bounds on what is taken in. Event time may be ahead of the record's own time by ``max_clock_ahead_ms``."""

    max_message_bytes: int = 1_000_000
    max_clock_ahead_ms: int = 3_600_000
    oldest_event_ms: int = 946_684_800_000


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class PredictionRows:
    """Good predictions of one model version from one batch, in offset order. ``times_ms``: event times, int64 (n,)."""

    version: VersionContext
    times_ms: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    indexes: list[int] = field(default_factory=list)  # positions in the batch
    offsets: list[int] = field(default_factory=list)
    events: list[Prediction] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    values: list[PredictionValue] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._columns: dict[str, NDArray[np.float64] | list[str | None]] | None = None
        self._hashes: NDArray[np.uint32] | None = None

    @property
    def hashes(self) -> NDArray[np.uint32]:
        """A hash of each row's features, uint32 (n,)."""
        if self._hashes is None:
            self._hashes = row_hashes((event.features for event in self.events), len(self.events))
        return self._hashes

    @property
    def columns(self) -> dict[str, NDArray[np.float64] | list[str | None]]:
        """Feature columns, the prediction's own, and what each row adds to the estimated performance."""
        if self._columns is None:
            decoder: FeatureDecoder = self.version.model.features
            self._columns = decoder.columns(self.rows)
            self._columns[PREDICTION] = prediction_column(self.version.model.spec, self.values)
            if self.version.estimator is not None:
                outputs = np.asarray(self.values, np.float64)
                self._columns[ESTIMATES] = self.version.estimator.rows(self._columns, outputs)
        return self._columns

    def column(self, name: str) -> NDArray[np.float64] | list[str | None]:
        return self.columns[name]

    def select(self, positions: Sequence[int]) -> dict[str, NDArray[np.float64] | list[str | None]]:
        """Columns of the rows at these positions."""
        if len(positions) == len(self.events):
            return self.columns
        return select_rows(self.columns, positions)


@dataclass(frozen=True, slots=True)
class RefusedPrediction:
    """A dead letter whose model, version and time are known: its features or its prediction are what is wrong."""

    index: int  # position in the batch
    version: VersionContext
    event_time_ms: int
    feature: str
    kind: str


@dataclass
class PredictionsTaken:
    """A decoded batch. ``times_ms``: int64 (n,), event time by position, or NEVER_MS where the record was refused.
    ``refused`` are those of the dead letters that can be counted in a window."""

    times_ms: NDArray[np.int64]
    groups: dict[VersionContext, PredictionRows]
    dead_letters: list[DeadLetter]
    refused: list[RefusedPrediction] = field(default_factory=list)


@dataclass
class LabelsTaken:
    """A decoded batch. ``labels``: position, model, event and decoded label of each good record."""

    times_ms: NDArray[np.int64]
    labels: list[tuple[int, ModelContext, Label, LabelValue]]
    dead_letters: list[DeadLetter]


class Intake:
    """Decodes batches by what the catalog knows of models and versions."""

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self._catalog = catalog
        self._limits = limits
        self._models: dict[str, ModelContext] = {}
        self._versions: dict[tuple[str, str], VersionContext] = {}

    def model(self, model_id: str) -> ModelContext | None:
        """The model's context, or None for a model without a spec."""
        model = self._models.get(model_id)
        if model is None:
            spec = self._catalog.spec(model_id)
            if spec is None:
                return None
            model = self._models[model_id] = ModelContext(spec)
        return model

    def _known_model(self, model_id: str) -> ModelContext:
        model = self.model(model_id)
        if model is None:
            raise _Refused("unknown_model", f"no spec for model {model_id!r}")
        return model

    def _known_version(self, model_id: str, version: str) -> VersionContext:
        context = self._versions.get((model_id, version))
        if context is None:
            model = self._known_model(model_id)
            profile = self._catalog.profile(model_id, version)
            if profile is None:
                raise _Refused("unknown_version", f"model {model_id!r} has no registered version {version!r}")
            context = self._versions[model_id, version] = VersionContext(model, version, profile)
        return context

    def predictions(self, batch: RecordBatch) -> PredictionsTaken:
        """Decode a batch of the predictions topic."""
        times_ms = np.full(len(batch), NEVER_MS, np.int64)
        groups: dict[VersionContext, PredictionRows] = {}
        letters: list[DeadLetter] = []
        refused: list[RefusedPrediction] = []
        for index, value in enumerate(batch.values):
            version: VersionContext | None = None
            row: Any = None
            try:
                event: Prediction = _decode_prediction(self._readable(value))
                self._check_time(event.event_time_ms, batch.timestamps_ms[index])
                version = self._known_version(event.model_id, event.model_version)
                row = version.model.features.decode_row(event.features)
                output = version.model.prediction.decode(event.prediction)
            except (*UNDECODABLE, _Refused) as error:
                letters.append(_letter(batch, index, error))
                if version is not None and isinstance(error, msgspec.ValidationError):
                    feature, kind = (
                        refusal_of_features(error, version.model.feature_names)
                        if row is None
                        else refusal_of_prediction(error)
                    )
                    refused.append(RefusedPrediction(index, version, event.event_time_ms, feature, kind))
                continue
            times_ms[index] = event.event_time_ms
            group = groups.get(version)
            if group is None:
                group = groups[version] = PredictionRows(version)
            group.indexes.append(index)
            group.offsets.append(batch.offsets[index])
            group.events.append(event)
            group.rows.append(row)
            group.values.append(output)
        for group in groups.values():
            group.times_ms = times_ms[group.indexes]
        return PredictionsTaken(times_ms, groups, letters, refused)

    def labels(self, batch: RecordBatch) -> LabelsTaken:
        """Decode a batch of the labels topic."""
        times_ms = np.full(len(batch), NEVER_MS, np.int64)
        labels: list[tuple[int, ModelContext, Label, LabelValue]] = []
        letters: list[DeadLetter] = []
        for index, value in enumerate(batch.values):
            try:
                event: Label = _decode_label(self._readable(value))
                self._check_time(event.event_time_ms, batch.timestamps_ms[index])
                model = self._known_model(event.model_id)
                label = model.label.decode(event.label)
            except (*UNDECODABLE, _Refused) as error:
                letters.append(_letter(batch, index, error))
                continue
            times_ms[index] = event.event_time_ms
            labels.append((index, model, event, label))
        return LabelsTaken(times_ms, labels, letters)

    def _readable(self, value: bytes | None) -> bytes:
        if value is None:
            raise _Refused("null_value", "the record has no value")
        if len(value) > self._limits.max_message_bytes:
            raise _Refused(
                "oversized",
                f"the record has {len(value)} bytes, more than the limit of {self._limits.max_message_bytes}",
            )
        if (problem := unreadable(value)) is not None:
            raise _Refused("malformed_json", problem)
        return value

    def _check_time(self, event_time_ms: int, record_time_ms: int) -> None:
        """Compared with the record's own time, which is part of the log, so that a replay decides the same."""
        limits = self._limits
        if event_time_ms < limits.oldest_event_ms:
            raise _Refused(
                "absurd_time",
                f"event time {format_time(event_time_ms)} is before {format_time(limits.oldest_event_ms)}",
            )
        if event_time_ms > record_time_ms + limits.max_clock_ahead_ms:
            raise _Refused(
                "absurd_time",
                f"event time {format_time(event_time_ms)} is ahead of the record's time {format_time(record_time_ms)}",
            )


def _letter(batch: RecordBatch, index: int, error: Exception) -> DeadLetter:
    if isinstance(error, _Refused):
        code = error.code
    else:
        code = "invalid_event" if isinstance(error, msgspec.ValidationError) else "malformed_json"
    return DeadLetter.of(batch, index, code, str(error))
