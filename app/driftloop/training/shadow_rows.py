"""From labeled rows to the losses of challenger and champion in one matured window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.events.messages import Labeled
from driftloop.shadow.losses import BoundedLoss
from driftloop.shadow.state import Cohort
from driftloop.spec.model import ModelSpec
from driftloop.spec.shadow import CanarySpec
from driftloop.training.dataset import TrainingSet, cut
from driftloop.training.shadow_scores import ComparisonImpossible, WindowScores, compared_rows

__all__ = ["ComparisonImpossible", "arms_cohort", "paired_cohort", "timely_rows"]


def timely_rows(rows: Iterable[Labeled], spec: ModelSpec, start_ms: int, end_ms: int) -> TrainingSet:
    """The window's rows as they stood when it matured, sorted by (predicted_at_ms, id), each prediction once.

    Rows that came after the window was final, or whose label became known beyond the horizon, are marked as late in the
    log itself, so that this is a function of the log and not of when it is read. Of several labels in time the highest
    (revision, time) counts.
    """
    return cut((row for row in rows if not row.late), spec, start_ms, end_ms)


def paired_cohort(
    data: TrainingSet,
    spec: ModelSpec,
    loss: BoundedLoss,
    start_ms: int,
    end_ms: int,
    *,
    champion: str,
    scores: WindowScores | None,
) -> Cohort:
    """Both models on the same rows, those of :func:`timely_rows`. The champion's loss is that of the prediction that it
    made when it served the row; of rows that another version served, that of its model file on the recorded features
    (where there is none, they are left out). ``scores``: what the model files say; None if there is no row.
    """
    left_out = {"unreadable": data.unreadable} if data.unreadable else {}
    if scores is None:
        assert not len(data), "rows are scored before they are compared"
        return _empty(start_ms, end_ms, left_out)
    rows = compared_rows(data, champion, has_model=scores.champion is not None)
    if len(rows) < len(data):
        left_out["no champion score"] = len(data) - len(rows)
    if not len(rows):
        return _empty(start_ms, end_ms, left_out)
    recorded = np.asarray(rows.versions == champion, bool)
    said = rows.said
    if scores.champion is not None and not recorded.all():
        said = said.copy()
        said[~recorded] = scores.champion
    return Cohort(
        start_ms=start_ms,
        end_ms=end_ms,
        champion_losses=_losses(loss, spec, said, rows.labels),
        challenger_losses=_losses(loss, spec, scores.challenger, rows.labels),
        recorded_rows=int(recorded.sum()),
        left_out=left_out,
    )


def arms_cohort(
    rows: Iterable[Labeled],
    spec: ModelSpec,
    loss: BoundedLoss,
    start_ms: int,
    end_ms: int,
    *,
    canary: CanarySpec,
    champion: str,
    challenger: str,
) -> Cohort:
    """Each model on its own arm, by what it said itself. A row of an arm that another version than the arm's served is
    left out of the losses, and counts for the arms' split."""
    rows = list(rows)
    variants = {row.prediction_id: row.variant for row in rows}
    data = timely_rows(rows, spec, start_ms, end_ms)
    variant = np.array([variants[name] for name in data.ids], dtype=object)
    arms = {
        version: variant == name for version, name in ((champion, canary.champion), (challenger, canary.challenger))
    }
    served = {version: arm & (data.versions == version) for version, arm in arms.items()}
    in_arms = int(arms[champion].sum()), int(arms[challenger].sum())
    compared = sum(int(part.sum()) for part in served.values())
    counts = {
        "unreadable": data.unreadable,
        "no arm": len(data) - sum(in_arms),
        "another version in the arm": sum(in_arms) - compared,
    }
    losses = {
        version: _losses(loss, spec, data.said[part], data.labels[part]) if len(data) else np.empty(0)
        for version, part in served.items()
    }
    return Cohort(
        start_ms=start_ms,
        end_ms=end_ms,
        champion_losses=losses[champion],
        challenger_losses=losses[challenger],
        recorded_rows=len(losses[champion]),
        ratio_rows=in_arms,
        left_out={reason: count for reason, count in counts.items() if count},
    )


def _empty(start_ms: int, end_ms: int, left_out: dict[str, int]) -> Cohort:
    return Cohort(start_ms, end_ms, np.empty(0), np.empty(0), left_out=left_out)


def _losses(
    loss: BoundedLoss, spec: ModelSpec, predictions: NDArray[np.float64], labels: NDArray[Any]
) -> NDArray[np.float64]:
    return loss.rows(spec.task, predictions, labels, spec.performance.decision_threshold)
