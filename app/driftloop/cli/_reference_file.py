"""From a file of past rows (Parquet or CSV) to the columns and metrics of a reference profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.drift.reference_windows import with_reference_windows
from driftloop.performance.confusion import CONFUSION_METRICS
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.performance.losses import reference_losses
from driftloop.performance.pointwise import evaluate_model
from driftloop.profiles.columns import PREDICTION, FeatureDecoder
from driftloop.profiles.estimators import EstimatorTables
from driftloop.profiles.reference import LossReference, MetricReference, ReferenceProfile
from driftloop.spec import ModelSpec

__all__ = ["ReferenceData", "ReferenceFileError", "read_reference"]


class ReferenceFileError(ValueError):
    """The file cannot be used as a reference; the message says which column or row, and why."""


@dataclass(frozen=True)
class ReferenceData:
    """What :meth:`driftloop.profiles.reference.ReferenceProfile.build` takes, and the event times of the rows, shape
    (n,), where they are known."""

    columns: dict[str, NDArray[np.float64] | list[str | None]]
    metrics: dict[str, MetricReference] = field(default_factory=dict)
    label_mean: float = 0.0
    estimators: EstimatorTables | None = None
    losses: LossReference | None = None
    times_ms: NDArray[np.int64] | None = None

    def profile(self, spec: ModelSpec, version: str) -> ReferenceProfile:
        """The reference profile of a version, with the statistics of its own windows if times are known."""
        times = self.times_ms
        profile = ReferenceProfile.build(
            spec,
            self.columns,
            model_version=version,
            metrics=self.metrics,
            label_mean=self.label_mean,
            estimators=self.estimators,
            losses=self.losses,
            from_ms=0 if times is None else int(times.min()),
            to_ms=0 if times is None else int(times.max()) + 1,
        )
        return profile if times is None else with_reference_windows(profile, spec, self.columns, times)


def read_reference(
    path: Path, spec: ModelSpec, *, prediction: str | None = None, label: str | None = None, time: str | None = None
) -> ReferenceData:
    """Read the file by the model's spec; ``prediction``, ``label`` and ``time`` name its columns of those.

    Features go through the decoder of the events, so that the reference has the same texts and numbers as the stream.
    With both columns the metrics of a binary or regression model are computed as reference performance, and the tables
    fitted that estimate it later; of a multiclass model, whose column holds classes, what those alone tell. The
    predictions must be of rows that the model was not fitted on. Raises
    :class:`ReferenceFileError`.
    """
    frame = _read(path)
    wanted = [*spec.features, *(name for name in (prediction, label, time) if name is not None)]
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise ReferenceFileError(f"{path} has no column {absent[0]!r}; it has {', '.join(map(str, frame.columns))}")
    columns = _features(path, spec, frame)
    times_ms = None if time is None else _times_ms(path, frame, time)
    if prediction is None:
        return ReferenceData(columns, times_ms=times_ms)
    if spec.task in ("multiclass", "ranking"):  # a class, or the item at the top
        columns[PREDICTION] = [None if pd.isna(value) else str(value) for value in frame[prediction]]
        if spec.task == "ranking" or label is None:
            return ReferenceData(columns, times_ms=times_ms)
        return _of_classes(path, spec, frame, (prediction, label), columns, times_ms)
    predictions = _numbers(path, frame, prediction)
    if spec.task == "binary" and not ((predictions >= 0.0) & (predictions <= 1.0)).all():
        raise ReferenceFileError(f"{path}: the column {prediction!r} must hold probabilities from 0 to 1")
    columns[PREDICTION] = predictions
    if label is None:
        return ReferenceData(columns, times_ms=times_ms)
    labels = _numbers(path, frame, label)
    if spec.task == "binary" and not np.isin(labels, (0.0, 1.0)).all():
        raise ReferenceFileError(f"{path}: the column {label!r} must hold 0 and 1 (or true and false)")
    value = spec.performance.value
    weights = None if value is None or value.column is None else np.asarray(columns[value.column], np.float64)
    values = evaluate_model(spec, predictions, labels.astype(np.int64) if spec.task == "binary" else labels, weights)
    metrics = {
        name: MetricReference(value=found.value, low=found.low, high=found.high, rows=found.rows)
        for name, found in values.items()
        if found.value is not None
    }
    return ReferenceData(
        columns,
        metrics,
        float(labels.mean()),
        fit_estimators(spec, columns, predictions, labels),
        reference_losses(spec.task, predictions, labels, spec.performance.decision_threshold),
        times_ms,
    )


def _of_classes(
    path: Path,
    spec: ModelSpec,
    frame: pd.DataFrame,
    names: tuple[str, str],
    columns: dict[str, NDArray[np.float64] | list[str | None]],
    times_ms: NDArray[np.int64] | None,
) -> ReferenceData:
    """A multiclass model: what classes without their probabilities tell, the metrics of the confusion matrix."""
    said, truth = (_class_indices(path, spec, frame, name) for name in names)
    values = evaluate_model(spec, np.eye(len(spec.classes))[said], truth)
    metrics = {
        name: MetricReference(value=found.value, low=found.low, high=found.high, rows=found.rows)
        for name, found in values.items()
        if found.value is not None and name in CONFUSION_METRICS
    }
    return ReferenceData(columns, metrics, times_ms=times_ms)


def _class_indices(path: Path, spec: ModelSpec, frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    known = {text: index for index, text in enumerate(spec.classes)}
    texts = [None if pd.isna(value) else str(value) for value in frame[name]]
    strange = next((row for row, text in enumerate(texts) if text not in known), None)
    if strange is not None:
        raise ReferenceFileError(
            f"{path}: the column {name!r} must hold classes of the spec ({', '.join(spec.classes)}), and row "
            f"{strange + 1} has {texts[strange]!r}"
        )
    return np.array([known[str(text)] for text in texts], np.int64)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise ReferenceFileError(f"expected a .parquet or .csv file, got {path}")
    try:
        frame = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        # Arrow's error of a file that is not there is its path and nothing else.
        said = "there is no such file" if isinstance(error, FileNotFoundError) else error
        raise ReferenceFileError(f"cannot read {path}: {said}") from None
    if frame.empty:
        raise ReferenceFileError(f"{path} has no rows")
    return frame


def _features(path: Path, spec: ModelSpec, frame: pd.DataFrame) -> dict[str, NDArray[np.float64] | list[str | None]]:
    cells = {name: _cells(frame[name], feature.kind) for name, feature in spec.features.items()}
    try:
        rows = [
            msgspec.json.encode(dict(zip(cells, values, strict=True))) for values in zip(*cells.values(), strict=True)
        ]
    except TypeError as error:
        raise ReferenceFileError(f"{path} holds values that an event cannot carry: {error}") from None
    columns, bad = FeatureDecoder(spec).decode(rows)
    if bad:
        index, error_text = bad[0]
        raise ReferenceFileError(f"{path}: {len(bad)} rows do not fit the model's spec; row {index + 1}: {error_text}")
    return columns


def _cells(column: pd.Series[Any], kind: str) -> list[Any]:
    """Plain Python values, None for missing. Categorical whole floats are integers that a gap made floats of."""
    values: list[Any] = [
        None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)
    ]
    if kind == "vector":
        return [_vector(value) for value in values]
    if kind == "categorical":
        return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return values


def _vector(value: Any) -> Any:
    """Parquet has lists (as arrays); CSV has their JSON text."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value  # the decoder of features says what is wrong, and in which row
    return value


def _times_ms(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Milliseconds as integers, or times that pandas reads; without a zone they are UTC."""
    column = frame[name]
    if column.isna().any():
        raise ReferenceFileError(f"{path}: the column {name!r} must hold a time in every row; take those rows out")
    if pd.api.types.is_integer_dtype(column):
        return column.to_numpy(dtype=np.int64)
    if pd.api.types.is_numeric_dtype(column):
        raise ReferenceFileError(f"{path}: the column {name!r} must hold times or whole milliseconds, not fractions")
    try:
        times = pd.to_datetime(column, utc=True)
    except (ValueError, TypeError) as error:
        raise ReferenceFileError(f"{path}: the column {name!r} must hold times: {error}") from None
    return times.dt.tz_localize(None).to_numpy(dtype="datetime64[ms]").astype(np.int64)


def _numbers(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise ReferenceFileError(f"{path}: the column {name!r} must hold numbers: {error}") from None
    if not np.isfinite(numbers).all():
        raise ReferenceFileError(f"{path}: the column {name!r} has missing or infinite values; take those rows out")
    return numbers
