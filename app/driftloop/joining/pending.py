"""Predictions that wait for their label, and labels that wait for their prediction.

Whether a label counts is a function of the two records and of each topic partition's own order, never of how the two
topics happened to interleave: see :func:`judge_label`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Generic, TypeVar

import msgspec

__all__ = ["JoinKey", "LabelVerdict", "Pending", "Saved", "WaitingLabel", "judge_label"]

#: A decoded prediction and a decoded label: see :mod:`driftloop.profiles.columns`, which this package does not import.
PredictionValue = float | tuple[float, ...] | tuple[str, ...]
LabelValue = float | int | dict[str, float]

#: (model_id, prediction_id)
JoinKey = tuple[str, str]
CohortT = TypeVar("CohortT")


class Saved(IntEnum):
    """How a row stands to the one in the store."""

    NEW = 0
    CHANGED = 1
    SAME = 2


class Pending(msgspec.Struct, Generic[CohortT], gc=False, eq=False):
    """One prediction until its cohort is dropped. ``value`` is the decoded prediction. Ranks are (revision, event time)
    of labels: ``counted_rank`` of the one in the cohort's sums, with its value and delay, ``standing_rank`` of the
    highest one that came, which may have become known beyond the horizon. ``weight`` is what the row's value is
    multiplied with, NaN if unknown. ``watermark_ms`` is its partition's before it."""

    key: JoinKey
    cohort: CohortT
    event_time_ms: int
    offset: int
    features: msgspec.Raw
    prediction: msgspec.Raw
    value: PredictionValue
    segments: tuple[str, ...]
    late: bool
    variant: str | None = None
    label: LabelValue = 0
    label_delay_ms: int = 0
    counted_rank: tuple[int, int] | None = None
    standing_rank: tuple[int, int] | None = None
    weight: float = 1.0
    watermark_ms: int = -(2**62)
    saved: Saved = Saved.NEW


class WaitingLabel(msgspec.Struct, frozen=True, gc=False):
    """A label as it came: decoded value, its place in its partition's log, and the largest label time before it.
    ``due_ms``: when predictions have come to this event time, none that comes later is joined with it."""

    key: JoinKey
    event_time_ms: int
    due_ms: int
    revision: int
    value: LabelValue
    raw: msgspec.Raw
    offset: int
    max_before_ms: int
    record_key: bytes | None
    record_value: bytes


class LabelVerdict(Enum):
    """What a label can do to its prediction, by the two records and the label's place in its log."""

    COUNTS = "counts"
    LATE = "late"  # restates a window that was final already
    BEYOND_HORIZON = "beyond_horizon"  # kept for training, counted in no window
    TOO_LATE = "too_late"  # after horizon and retention: not joined
    BEFORE_PREDICTION = "before_prediction"  # became known before the prediction was made


def judge_label(
    *,
    predicted_at_ms: int,
    labeled_at_ms: int,
    label_watermark_ms: int,
    window_end_ms: int,
    horizon_ms: int,
    retention_ms: int,
    lateness_ms: int,
    drop_ms: int,
) -> LabelVerdict:
    """Judge one label against its prediction, whose cohort is forgotten when both watermarks have come to ``drop_ms``.

    ``label_watermark_ms`` is the watermark of the label's partition *before* this record.
    """
    delay_ms = labeled_at_ms - predicted_at_ms
    if delay_ms < -lateness_ms:
        return LabelVerdict.BEFORE_PREDICTION
    if delay_ms > horizon_ms + retention_ms or label_watermark_ms >= drop_ms:
        return LabelVerdict.TOO_LATE
    if delay_ms > horizon_ms:
        return LabelVerdict.BEYOND_HORIZON
    return LabelVerdict.LATE if label_watermark_ms >= window_end_ms + horizon_ms else LabelVerdict.COUNTS
