"""Rows that a model to be judged must not learn, so that it knows no more than it will know in service.

A model that serves has learned labels that are at least as old as they take to come. One that is judged on a holdout,
and has learned every row before it, has also learned labels that became known while the holdout's predictions were
made, or later: from outcomes of the same days. An embargo between the two parts takes these away, as ``gap`` does in
scikit-learn's TimeSeriesSplit, there as a number of rows, here as a length of time or by when labels became known.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.spec.model import ModelSpec
from driftloop.spec.training import GAP_LABELS
from driftloop.training.dataset import SplitError, TrainingSet

__all__ = ["GapReport", "before_gap", "places_before_gap"]


class GapReport(Struct, frozen=True, kw_only=True):
    """What ``training.gap`` took away: ``left_out`` of ``rows`` before the holdout, which begins at ``holdout_from_ms``
    (event time)."""

    gap: str
    holdout_from_ms: int
    rows: int
    left_out: int


def places_before_gap(spec: ModelSpec, earlier: TrainingSet, from_ms: int) -> NDArray[np.int64]:
    """The places, ascending, of the rows that may be learned by a model that is judged on predictions from ``from_ms``
    (event time) on; all without ``training.gap``.

    With a duration those whose prediction lies at least so long before; with ``labels`` those whose label was known by
    then. A label of which nobody knows when it came counts as known a label horizon after its prediction.
    """
    if spec.training.gap is None:
        return np.arange(len(earlier), dtype=np.int64)
    if spec.training.gap == GAP_LABELS:
        known_ms = earlier.labeled_at_ms
        if known_ms is None:
            known_ms = earlier.predicted_at_ms + spec.label_horizon_ms
        return np.flatnonzero(known_ms <= from_ms)
    return np.flatnonzero(earlier.predicted_at_ms <= from_ms - (spec.training.gap_ms or 0))


def before_gap(
    spec: ModelSpec, earlier: TrainingSet, later: TrainingSet, what: str = "the holdout"
) -> tuple[TrainingSet, GapReport | None]:
    """``earlier`` without the rows that a model which is judged on ``later`` must not learn, and how many those are.

    ``what`` names the later part in the error: :class:`~driftloop.training.dataset.SplitError` if nothing is left.
    """
    gap = spec.training.gap
    if gap is None:
        return earlier, None
    from_ms = int(later.predicted_at_ms[0])
    places = places_before_gap(spec, earlier, from_ms)
    if not len(places):
        when = "had its label when that began" if gap == GAP_LABELS else f"lies {gap} or more before that"
        raise SplitError(
            f"training.gap: {gap} leaves nothing to learn: none of the {len(earlier):,} rows before {what} {when}; "
            "allow more data (training.last), a smaller holdout or a shorter gap"
        )
    report = GapReport(gap=gap, holdout_from_ms=from_ms, rows=len(earlier), left_out=len(earlier) - len(places))
    return earlier.rows(places), report
