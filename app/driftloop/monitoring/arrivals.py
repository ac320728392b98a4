"""Predictions that arrive: into the window of their time, and to the labels that waited for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from driftloop.events.batch import RecordBatch
from driftloop.events.time import NEVER_MS
from driftloop.joining.pending import Pending
from driftloop.monitoring.catalog import VersionContext
from driftloop.monitoring.cohort import Cohort, LogPoint
from driftloop.monitoring.intake import PredictionRows, RefusedPrediction
from driftloop.monitoring.joins import join_label
from driftloop.monitoring.outputs import DeadLetter
from driftloop.monitoring.state import SourceState
from driftloop.monitoring.updates import OutcomeUpdates, update_input_panes
from driftloop.profiles.segments import segment_names

__all__ = ["count_refused", "take_predictions"]


def take_predictions(
    state: SourceState,
    batch: RecordBatch,
    version: VersionContext,
    group: PredictionRows,
    before: NDArray[np.int64],
    updates: OutcomeUpdates,
) -> None:
    """Count good predictions of one version, and join labels that waited for them. ``before``: int64 (n,), for each the
    largest event time before it in its log."""
    model = version.model
    spec = model.spec
    watermarks = before - model.lateness_ms
    fresh: list[int] = []
    arrived: list[Pending[Cohort]] = []
    segment_columns = [(names, [group.column(name) for name in names]) for names in map(segment_names, spec.segments)]
    weights = None if model.weight_column is None else np.asarray(group.column(model.weight_column), np.float64)
    for index, event in enumerate(group.events):
        time_ms = event.event_time_ms
        offset = group.offsets[index]
        watermark = int(watermarks[index])
        key = (spec.model, event.prediction_id)
        known = state.pending.find(key)
        if known is not None and watermark < known.cohort.drop_ms:
            state.outputs.duplicates[spec.model] += 1
            if watermark < known.cohort.end_ms:
                known.cohort.count_repeated()
            continue
        start_ms = time_ms - time_ms % model.window_ms
        end_ms = start_ms + model.window_ms
        if end_ms + model.keep_ms <= watermark:
            state.refuse(
                [
                    DeadLetter.of(
                        batch,
                        int(group.indexes[index]),
                        "too_late",
                        "the prediction's window was closed and forgotten",
                    )
                ]
            )
            continue
        cohort = state.cohort(version, start_ms)
        cohort.saw_prediction(LogPoint(offset, int(before[index])))
        pending = Pending(
            key=key,
            cohort=cohort,
            event_time_ms=time_ms,
            offset=offset,
            features=event.features,
            prediction=event.prediction,
            value=group.values[index],
            segments=tuple(
                version.segment(names, [None if column[index] is None else str(column[index]) for column in columns])
                for names, columns in segment_columns
            ),
            late=end_ms <= watermark,
            watermark_ms=watermark,
            variant=event.variant,
            weight=1.0 if weights is None else float(weights[index]),
        )
        state.pending.add(pending, known)
        fresh.append(index)
        arrived.append(pending)
    _note_latest(state, batch, group)
    state.outputs.predictions[spec.model] += len(arrived)
    state.outputs.late[spec.model] += sum(pending.late for pending in arrived)
    update_input_panes(group, fresh, arrived)
    for pending in arrived:
        updates.predicted(pending)
    if state.pending.labels:
        for pending in arrived:
            for waiting in state.pending.labels.claim(pending.key):
                join_label(state, model, pending, waiting, updates)


def count_refused(state: SourceState, refused: RefusedPrediction, offset: int, before_ms: int) -> None:
    """A dead letter counts in the window that it would have been in, unless that was forgotten."""
    model = refused.version.model
    start_ms = refused.event_time_ms - refused.event_time_ms % model.window_ms
    end_ms = start_ms + model.window_ms
    watermark = before_ms - model.lateness_ms
    if end_ms + model.keep_ms <= watermark:
        return
    cohort = state.cohort(refused.version, start_ms)
    cohort.saw_prediction(LogPoint(offset, before_ms))
    cohort.count_refused(refused.feature, refused.kind, offset, late=end_ms <= watermark)


def _note_latest(state: SourceState, batch: RecordBatch, group: PredictionRows) -> None:
    model_id = group.version.model.spec.model
    event_ms, record_ms = state.latest_ms.get(model_id, (NEVER_MS, NEVER_MS))
    event_ms = max(event_ms, int(group.times_ms.max()))
    state.latest_ms[model_id] = (event_ms, max(record_ms, batch.timestamps_ms[group.indexes[-1]]))
