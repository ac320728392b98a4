"""A prediction and its label: whether the label counts, in which sums, and the labeled row."""

from __future__ import annotations

import msgspec

from driftloop.events.messages import Labeled
from driftloop.joining.pending import LabelVerdict, Pending, WaitingLabel, judge_label
from driftloop.monitoring.catalog import ModelContext
from driftloop.monitoring.cohort import Cohort, LogPoint
from driftloop.monitoring.state import SourceState
from driftloop.monitoring.updates import OutcomeUpdates

__all__ = ["join_label"]

_encode = msgspec.json.Encoder().encode

_REFUSED = {
    LabelVerdict.TOO_LATE: ("label_too_late", "the label became known after label horizon and late retention"),
    LabelVerdict.BEFORE_PREDICTION: (
        "label_before_prediction",
        "the label became known before the prediction was made",
    ),
}


def join_label(
    state: SourceState, model: ModelContext, pending: Pending[Cohort], label: WaitingLabel, updates: OutcomeUpdates
) -> None:
    """Join a label with its prediction, whichever came first."""
    cohort = pending.cohort
    if pending.watermark_ms >= label.event_time_ms + model.window_ms:
        # A label that had waited was given up when this prediction came; one that comes later fares alike.
        state.give_up(label)
        return
    rank = (label.revision, label.event_time_ms)
    verdict = judge_label(
        predicted_at_ms=pending.event_time_ms,
        labeled_at_ms=label.event_time_ms,
        label_watermark_ms=label.max_before_ms - model.lateness_ms,
        window_end_ms=cohort.end_ms,
        horizon_ms=model.horizon_ms,
        retention_ms=model.retention_ms,
        lateness_ms=model.lateness_ms,
        drop_ms=cohort.drop_ms,
    )
    cohort.saw_label(LogPoint(label.offset, label.max_before_ms))
    if verdict in _REFUSED:
        code, message = _REFUSED[verdict]
        state.refuse_label(label, code, message)
        return
    counts = verdict is not LabelVerdict.BEYOND_HORIZON and _outranks(rank, pending.counted_rank)
    stands = _outranks(rank, pending.standing_rank)
    if not counts and not stands:
        state.outputs.duplicates[model.spec.model] += 1
        return
    state.pending.changed(pending)
    late = verdict is LabelVerdict.LATE or pending.late
    delay_ms = max(0, label.event_time_ms - pending.event_time_ms)
    if counts:
        if pending.counted_rank is not None:
            state.outputs.corrections[model.spec.model] += 1
            updates.remove(pending, late=late)
        pending.label, pending.label_delay_ms, pending.counted_rank = label.value, delay_ms, rank
        updates.add(pending, label.offset, late=late)
    if stands:
        pending.standing_rank = rank
        _emit_labeled(state, pending, label, delay_ms, late=late or not counts)


def _emit_labeled(
    state: SourceState, pending: Pending[Cohort], label: WaitingLabel, delay_ms: int, *, late: bool
) -> None:
    model_id, prediction_id = pending.key
    outputs = state.outputs
    outputs.joined[model_id] += 1
    outputs.late[model_id] += late and not pending.late
    outputs.delays_ms.setdefault(model_id, []).append(delay_ms)
    if state.silent:
        return
    row = Labeled(
        prediction_id=prediction_id,
        model_id=model_id,
        model_version=pending.cohort.version.version,
        predicted_at_ms=pending.event_time_ms,
        labeled_at_ms=label.event_time_ms,
        features=pending.features,
        prediction=pending.prediction,
        label=label.raw,
        revision=label.revision,
        late=late,
        source_partition=state.partition,
        prediction_offset=pending.offset,
        label_offset=label.offset,
        variant=pending.variant,
    )
    outputs.labeled.append((prediction_id.encode(), _encode(row)))


def _outranks(rank: tuple[int, int], other: tuple[int, int] | None) -> bool:
    return other is None or rank > other
