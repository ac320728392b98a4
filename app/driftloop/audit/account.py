"""What a prediction's audit says, as data: gathered from topics, registry, assessments and the version's own files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw, Struct, field

from driftloop.audit.find import Trace
from driftloop.audit.history import Model, VersionAccount, WindowAccount, alerts_then, version_account, windows_of
from driftloop.audit.moved import Moved, moved, seed_of
from driftloop.audit.outcome import Outcome, outcome_of
from driftloop.audit.standing import Standing, standings
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.messages import Alert, Labeled, Prediction
from driftloop.profiles.columns import Columns, FeatureDecoder, PredictionDecoder, PredictionValue, select_rows
from driftloop.profiles.reference import ReferenceProfile
from driftloop.profiles.segments import segment_key, segment_names
from driftloop.registry.assessments import AssessmentStore
from driftloop.registry.errors import RegistryError
from driftloop.registry.models import Registry
from driftloop.registry.rows import VersionRow
from driftloop.spec.model import ModelSpec
from driftloop.training import artifacts
from driftloop.training.dataset import TrainingSet
from driftloop.training.estimators import columns_of, predict

__all__ = ["Account", "account_of"]

#: Rows of the training set that a prediction is compared with, at most.
BACKGROUND_ROWS = 5_000


class Account(Struct, frozen=True, kw_only=True):
    """Times in event-time milliseconds. ``said_again``: what the version's model file says of the features now;
    ``said_difference``: how far the published prediction is from it (multiclass: the largest of the classes').
    ``notes``: what could not be told, and why."""

    prediction_id: str
    model_id: str
    model_version: str
    variant: str | None
    predicted_at_ms: int
    features: Raw
    prediction: Raw
    topic: str
    partition: int
    offset: int
    version: VersionAccount | None
    champion_then: str | None
    windows: list[WindowAccount]
    alerts: list[Alert]
    standings: list[Standing] = field(default_factory=list)
    said_again: Any = None
    said_difference: float | None = None
    moved: Moved | None = None
    background: str = ""
    outcome: Outcome | None = None
    notes: list[str] = field(default_factory=list)


def account_of(
    trace: Trace, topics: Any, registry: Registry, assessments: AssessmentStore, today: Mapping[str, ModelSpec]
) -> Account:
    """Never fails for what is missing: then a note says so. ``today``: the present specs, used if the version's lineage
    does not have its own."""
    notes = list(trace.notes)
    if trace.prediction is not None:
        event: Prediction | Labeled = trace.prediction.event
        at_ms = trace.prediction.event.event_time_ms
        place = (topics.predictions, trace.prediction.partition, trace.prediction.offset)
    else:
        joined = trace.joined
        assert joined is not None, "a trace without a prediction has a joined row"
        row_of = joined.event
        event, at_ms = row_of, row_of.predicted_at_ms
        place = (topics.predictions, row_of.source_partition, row_of.prediction_offset)
    row = registry.version(event.model_id, event.model_version)
    model = Model(registry.history(event.model_id))
    if row is None:
        notes.append(
            f"the registry has no version {event.model_version!r} of {event.model_id!r}: nobody approved it here"
        )
    spec = _spec(row, today.get(event.model_id), notes)
    profile = _profile(registry, row, notes)
    columns, said = _decoded(spec, event, notes)
    segments = [] if spec is None or columns is None else _segments(spec, profile, columns)
    found: dict[str, Any] = {}
    if columns is not None and profile is not None:
        found["standings"] = list(standings(profile, columns))
    if row is not None and spec is not None and columns is not None:
        found |= _explained(registry, row, spec, profile, columns, said, event.prediction_id, notes)
    windows = windows_of(assessments, event.model_id, event.model_version, at_ms, segments)
    if not windows:
        notes.append("no window that holds this prediction has been judged yet")
    return Account(
        prediction_id=event.prediction_id,
        model_id=event.model_id,
        model_version=event.model_version,
        variant=event.variant,
        predicted_at_ms=at_ms,
        features=event.features,
        prediction=event.prediction,
        topic=place[0],
        partition=place[1],
        offset=place[2],
        version=None if row is None else version_account(row, model, registry.store),
        champion_then=model.champion_at(at_ms),
        windows=windows,
        alerts=alerts_then(assessments, event.model_id, at_ms),
        outcome=outcome_of(spec, trace, at_ms, said),
        notes=notes,
        **found,
    )


def _spec(row: VersionRow | None, present: ModelSpec | None, notes: list[str]) -> ModelSpec | None:
    kept = None if row is None else row.lineage.get("spec")
    if isinstance(kept, str):
        try:
            return msgspec.json.decode(kept, type=ModelSpec)
        except msgspec.DecodeError as error:
            notes.append(f"the spec in the version's lineage cannot be read ({error}); the present one is used")
    if present is None:
        notes.append("there is no spec of the model: features and outcome are shown as they are, unexplained")
    return present


def _profile(registry: Registry, row: VersionRow | None, notes: list[str]) -> ReferenceProfile | None:
    encoded = None if row is None else registry.profile(row.model_id, row.version)
    if not encoded:
        if row is not None:
            notes.append("the version has no reference profile, so it is not known where its features stood")
        return None
    try:
        return ReferenceProfile.decode(encoded)
    except (ValueError, msgspec.MsgspecError) as error:
        notes.append(f"the version's reference profile cannot be read: {error}")
        return None


def _decoded(
    spec: ModelSpec | None, event: Prediction | Labeled, notes: list[str]
) -> tuple[Columns | None, PredictionValue | None]:
    if spec is None:
        return None, None
    columns: Columns | None = None
    said: PredictionValue | None = None
    decoder = FeatureDecoder(spec)
    try:
        columns = decoder.columns([decoder.decode_row(event.features)])
    except UNDECODABLE as error:
        notes.append(f"the features do not fit the spec: {error}")
    try:
        said = PredictionDecoder(spec).decode(event.prediction)
    except UNDECODABLE as error:
        notes.append(f"the prediction does not fit the spec: {error}")
    return columns, said


def _segments(spec: ModelSpec, profile: ReferenceProfile | None, columns: Columns) -> list[str]:
    known = set() if profile is None else set(profile.segments)
    found = []
    for declared in spec.segments:
        names = segment_names(declared)
        if all(name in columns for name in names):
            values = [columns[name][0] for name in names]
            texts = [None if value is None else str(value) for value in values]
            found.append(segment_key(names, texts, known))
    return found


def _explained(
    registry: Registry,
    row: VersionRow,
    spec: ModelSpec,
    profile: ReferenceProfile | None,
    columns: Columns,
    said: PredictionValue | None,
    prediction_id: str,
    notes: list[str],
) -> dict[str, Any]:
    if row.artifact is None:
        notes.append("the version has no model file, so it is not known which features moved the prediction")
        return {}
    seed = seed_of(prediction_id)
    try:
        pipeline = artifacts.load(registry.store.read(row.artifact))
        again = predict(pipeline, spec, columns)[0]
        found: dict[str, Any] = {"said_again": again.tolist()}
        if said is not None:
            found["said_difference"] = float(np.max(np.abs(np.asarray(said, dtype=np.float64) - again)))
        background = _background(registry, row, spec, profile, seed, notes)
        if background is not None:
            rows, words, sampled = background
            found["background"] = words
            found["moved"] = moved(spec, pipeline, rows, columns, seed=seed, sampled=sampled)
    except (RegistryError, artifacts.ArtifactError, OSError, KeyError, ValueError, TypeError) as error:
        notes.append(f"it is not known which features moved the prediction: {error}")
        return {}
    return found


def _background(
    registry: Registry,
    row: VersionRow,
    spec: ModelSpec,
    profile: ReferenceProfile | None,
    seed: int,
    notes: list[str],
) -> tuple[Columns, str, bool] | None:
    """(columns, words, whether it is a sample) of the version's training set; else the rows that its profile keeps."""
    uri = (row.lineage.get("dataset") or {}).get("uri")
    if uri:
        try:
            data = TrainingSet.from_parquet(spec, registry.store.read(uri))
            chosen = np.arange(len(data), dtype=np.int64)
            if len(data) > BACKGROUND_ROWS:
                chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:BACKGROUND_ROWS])
            words = f"its training set of {len(data):,} rows"
            return columns_of(spec, data.rows(chosen).frame), words, len(chosen) < len(data)
        except (RegistryError, OSError, KeyError, ValueError) as error:
            notes.append(f"the version's training set cannot be read: {error}")
    if profile is not None and profile.sample is not None:
        held = profile.sample.columns
        size = len(next(iter(held.values()), ()))
        if size and all(name in held for name in spec.features):
            return select_rows(held, range(size)), f"the {size:,} rows that its reference profile keeps", True
    notes.append("there are no rows to compare the prediction with: neither a training set nor a sample is kept")
    return None
