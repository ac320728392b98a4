"""Predictions that wait for their label, and labels that wait for their prediction.

Whether a label counts is a function of the two records and of each topic partition's own order, never of how the two
topics happened to interleave: see :func:`judge_label`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Generic, TypeVar

import msgspec

__all__ = ["JoinKey", "LabelVerdict", "Pending", "PendingStore", "WaitingLabel", "judge_label"]

#: A decoded prediction and a decoded label: see :mod:`driftloop.profiles.columns`, which this package does not import.
PredictionValue = float | tuple[float, ...] | tuple[str, ...]
LabelValue = float | int | dict[str, float]

#: (model_id, prediction_id)
JoinKey = tuple[str, str]
CohortT = TypeVar("CohortT")


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


class WaitingLabel(msgspec.Struct, frozen=True, gc=False):
    """A label as it came: decoded value, its place in its partition's log, and the largest label time before it."""

    key: JoinKey
    event_time_ms: int
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


class PendingStore(Generic[CohortT]):
    """Both sides of the join of one source partition, in memory.

    Predictions leave with their cohort, waiting labels when no prediction that they could belong to can still come.
    """

    def __init__(self) -> None:
        self._predictions: dict[JoinKey, Pending[CohortT]] = {}
        self._waiting: dict[JoinKey, list[WaitingLabel]] = {}

    def __len__(self) -> int:
        return len(self._predictions)

    @property
    def waiting_labels(self) -> int:
        """Number of predictions whose label came first."""
        return len(self._waiting)

    def find(self, key: JoinKey) -> Pending[CohortT] | None:
        return self._predictions.get(key)

    def add(self, pending: Pending[CohortT]) -> None:
        """Add a prediction; one with the same key that has expired by its partition's order gives way."""
        self._predictions[pending.key] = pending

    def remove(self, pending: Pending[CohortT]) -> None:
        """Remove this very prediction, not another one with the same key."""
        if self._predictions.get(pending.key) is pending:
            del self._predictions[pending.key]

    def wait(self, label: WaitingLabel) -> None:
        self._waiting.setdefault(label.key, []).append(label)

    def claim(self, key: JoinKey) -> list[WaitingLabel]:
        """Take the labels that waited for this prediction, in the order of their log."""
        if not self._waiting:
            return []
        return self._waiting.pop(key, [])

    def first_waiting(self) -> WaitingLabel | None:
        """The waiting label with the lowest offset (labels are added in offset order)."""
        for labels in self._waiting.values():
            return labels[0]
        return None

    def waiting(self) -> Iterator[list[WaitingLabel]]:
        return iter(self._waiting.values())

    def forget_waiting(self, key: JoinKey) -> None:
        del self._waiting[key]
