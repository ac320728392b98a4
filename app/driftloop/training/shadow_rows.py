"""From labeled rows to the losses of challenger and champion in one matured window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.events.messages import Labeled
from driftloop.shadow.losses import BoundedLoss
from driftloop.shadow.state import Cohort
from driftloop.spec.model import ModelSpec
from driftloop.spec.shadow import CanarySpec
from driftloop.training.dataset import TrainingSet, cut
from driftloop.training.estimators import predict

__all__ = ["ComparisonImpossible", "arms_cohort", "paired_cohort"]


class ComparisonImpossible(ValueError):
    """The two versions cannot be compared, however long one waits. The message says why."""


def _timely(rows: Iterable[Labeled], spec: ModelSpec, start_ms: int, end_ms: int) -> TrainingSet:
    """The window's rows as they stood when it matured, sorted by (predicted_at_ms, id), each prediction once.

    Rows that came after the window was final, or whose label became known beyond the horizon, are marked as late in the
    log itself, so that this is a function of the log and not of when it is read. Of several labels in time the highest
    (revision, time) counts.
    """
    return cut((row for row in rows if not row.late), spec, start_ms, end_ms)


def paired_cohort(
    rows: Iterable[Labeled],
    spec: ModelSpec,
    loss: BoundedLoss,
    start_ms: int,
    end_ms: int,
    *,
    champion: str,
    champion_model: Pipeline | None,
    challenger_model: Pipeline,
) -> Cohort:
    """Both models on the same rows. The champion's loss is that of the prediction that it made when it served the row;
    of rows that another version served, that of ``champion_model`` on the recorded features (None: they are left out).

    The whole window is scored at once, so that the rows of one call are the same whatever batches they came in. Raises
    :class:`ComparisonImpossible` if a model file cannot score the rows.
    """
    data = _timely(rows, spec, start_ms, end_ms)
    left_out = {"unreadable": data.unreadable} if data.unreadable else {}
    recorded = np.asarray(data.versions == champion, bool)
    if champion_model is None and not recorded.all():
        left_out["no champion score"] = int((~recorded).sum())
        data = _chosen(data, recorded)
        recorded = recorded[recorded]
    if not len(data):
        return _empty(start_ms, end_ms, left_out)
    said = data.said
    if champion_model is not None and not recorded.all():
        scored = _score(champion_model, spec, data, "champion", ~recorded)
        said = said.copy()
        said[~recorded] = scored
    challenger = _score(challenger_model, spec, data, "challenger", np.ones(len(data), bool))
    return Cohort(
        start_ms=start_ms,
        end_ms=end_ms,
        champion_losses=_losses(loss, spec, said, data.labels),
        challenger_losses=_losses(loss, spec, challenger, data.labels),
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
    data = _timely(rows, spec, start_ms, end_ms)
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


def _chosen(data: TrainingSet, chosen: NDArray[np.bool_]) -> TrainingSet:
    return TrainingSet(
        frame=data.frame[chosen].reset_index(drop=True),
        labels=data.labels[chosen],
        predicted_at_ms=data.predicted_at_ms[chosen],
        said=data.said[chosen],
        versions=data.versions[chosen],
        ids=data.ids[chosen],
    )


def _empty(start_ms: int, end_ms: int, left_out: dict[str, int]) -> Cohort:
    return Cohort(start_ms, end_ms, np.empty(0), np.empty(0), left_out=left_out)


def _score(
    model: Pipeline, spec: ModelSpec, data: TrainingSet, name: str, chosen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    try:
        return predict(model, spec, data.frame[chosen].reset_index(drop=True))
    except Exception as error:  # whatever a foreign pipeline raises on rows that it does not know
        raise ComparisonImpossible(
            f"the {name}'s model file cannot score the recorded features ({type(error).__name__}: {error})"
        ) from error


def _losses(
    loss: BoundedLoss, spec: ModelSpec, predictions: NDArray[np.float64], labels: NDArray[Any]
) -> NDArray[np.float64]:
    return loss.rows(spec.task, predictions, labels, spec.performance.decision_threshold)
