"""Updating the panes: once per batch and pane, never once per event."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from driftloop.joining.pending import Pending
from driftloop.monitoring.cohort import Cohort, OutcomePane
from driftloop.monitoring.intake import PredictionRows
from driftloop.performance.score_bands import band_scores
from driftloop.profiles.columns import Columns, LabelValue, PredictionValue
from driftloop.profiles.feature_keys import sampled_rows
from driftloop.profiles.quality import QualityStats
from driftloop.spec.basics import Task

__all__ = ["OutcomeUpdates", "update_input_panes"]

_LABEL_TYPES: dict[Task, type[np.generic] | None] = {
    "binary": np.int64,
    "multiclass": np.int64,
    "regression": np.float64,
    "ranking": None,
}


def update_input_panes(group: PredictionRows, positions: list[int], pending: list[Pending[Cohort]]) -> None:
    """Add rows of one model version to the input panes of their cohorts, lanes and segments.

    ``positions`` are places in the group, ``pending`` the rows joined in, one for each position.
    """
    buckets: dict[tuple[int, bool, str], tuple[Cohort, list[int]]] = {}
    for position, row in zip(positions, pending, strict=True):
        for segment in ("", *row.segments):
            bucket = buckets.get((row.cohort.start_ms, row.late, segment))
            if bucket is None:
                bucket = buckets[row.cohort.start_ms, row.late, segment] = (row.cohort, [])
            bucket[1].append(position)
    for (_, late, segment), (cohort, members) in buckets.items():
        pane = cohort.input_pane(segment, late)
        assert pane.stats is not None, "a row in time reached a window that its own partition had closed"
        columns = group.select(members)
        ids = None if pane.stats.sample is None else [group.events[at].prediction_id for at in members]
        pane.stats.update(columns, len(members), ids)
        if not segment:
            _update_quality(pane.stats.quality, group, members, columns)
        pane.span.predictions(group.offsets[members[0]], group.offsets[members[-1]])
        pane.dirty = True


def _update_quality(quality: QualityStats, group: PredictionRows, members: list[int], columns: Columns) -> None:
    model = group.version.model
    if model.rules:
        quality.add_violations(model.rules.violations(columns))
    hashes, times_ms = group.hashes, group.times_ms
    if len(members) < len(group.events):
        index = np.asarray(members, np.intp)
        hashes, times_ms = hashes[index], times_ms[index]
    quality.hashed_rows += len(members)
    quality.distinct.update(hashes)
    sample = sampled_rows(hashes, times_ms)
    if sample.size:
        events = group.events
        quality.keys.update((events[members[at]].features for at in sample.tolist()), model.feature_names)


@dataclass
class _PaneUpdate:
    label_type: type[np.generic] | None  # None: lists and mappings, as they are
    weighted: bool
    predicted_ms: list[int] = field(default_factory=list)  # after the window's start
    predicted: list[PredictionValue] = field(default_factory=list)  # where scores are banded
    predictions: list[PredictionValue] = field(default_factory=list)
    labels: list[LabelValue] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    delays_ms: list[int] = field(default_factory=list)
    offsets_ms: list[int] = field(default_factory=list)
    signs: list[int] = field(default_factory=list)


class OutcomeUpdates:
    """Collects what a batch changes in outcome panes, then applies it pane by pane."""

    def __init__(self) -> None:
        self._updates: dict[OutcomePane, _PaneUpdate] = {}

    def predicted(self, pending: Pending[Cohort]) -> None:
        """A prediction is in, still without its label."""
        for pane, update in self._panes(pending, pending.late):
            update.predicted_ms.append(pending.event_time_ms - pending.cohort.start_ms)
            if pane.stats.bands is not None:
                update.predicted.append(pending.value)
            pane.span.predictions(pending.offset, pending.offset)

    def add(self, pending: Pending[Cohort], label_offset: int, *, late: bool) -> None:
        """The prediction's label counts."""
        for pane, update in self._panes(pending, late):
            self._append(update, pending, 1)
            pane.span.labels(label_offset, label_offset)

    def remove(self, pending: Pending[Cohort], *, late: bool) -> None:
        """The label that stood until now is corrected: take it out. In the late lane the sums may become negative, and
        are right again once merged with the lane in time."""
        for _, update in self._panes(pending, late):
            self._append(update, pending, -1)

    def _panes(self, pending: Pending[Cohort], late: bool) -> list[tuple[OutcomePane, _PaneUpdate]]:
        cohort = pending.cohort
        found = []
        for segment in ("", *pending.segments):
            pane = cohort.outcome_pane(segment, late)
            update = self._updates.get(pane)
            if update is None:
                model = cohort.version.model
                update = self._updates[pane] = _PaneUpdate(
                    _LABEL_TYPES[model.spec.task], weighted=model.weight_column is not None
                )
            found.append((pane, update))
        return found

    @staticmethod
    def _append(update: _PaneUpdate, pending: Pending[Cohort], sign: int) -> None:
        update.predictions.append(pending.value)
        update.labels.append(pending.label)
        update.delays_ms.append(pending.label_delay_ms)
        update.offsets_ms.append(pending.event_time_ms - pending.cohort.start_ms)
        update.signs.append(sign)
        if update.weighted:
            update.weights.append(pending.weight)

    def apply(self) -> None:
        for pane, update in self._updates.items():
            pane.dirty = True
            if update.predicted_ms:
                scores = None
                if pane.stats.bands is not None:
                    scores = band_scores(pane.stats.task, np.asarray(update.predicted, np.float64))
                pane.stats.add_predicted(len(update.predicted_ms), np.asarray(update.predicted_ms, np.int64), scores)
            if not update.labels:
                continue
            if update.label_type is None:
                _apply_lists(pane, update)
                continue
            predictions = np.asarray(update.predictions, np.float64)
            labels = np.asarray(update.labels, update.label_type)
            weights = np.asarray(update.weights, np.float64) if update.weighted else None
            delays_ms = np.asarray(update.delays_ms, np.int64)
            offsets_ms = np.asarray(update.offsets_ms, np.int64)
            signs = np.asarray(update.signs, np.int64)
            for sign in (1, -1):
                chosen = signs == sign
                if chosen.any():
                    pane.stats.update(
                        predictions[chosen],
                        labels[chosen],
                        delays_ms[chosen],
                        sign,
                        offsets_ms[chosen],
                        weights=None if weights is None else weights[chosen],
                    )


def _apply_lists(pane: OutcomePane, update: _PaneUpdate) -> None:
    """Rows of a ranking task: item lists and gains by item have no array."""
    for sign in (1, -1):
        chosen = [index for index, of in enumerate(update.signs) if of == sign]
        pane.stats.update(
            [update.predictions[index] for index in chosen],  # type: ignore[misc]
            [update.labels[index] for index in chosen],  # type: ignore[misc]
            np.asarray([update.delays_ms[index] for index in chosen], np.int64),
            sign,
        )
