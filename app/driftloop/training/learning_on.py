"""Where a River model starts: from what the champion has learned, over the rows that the champion has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.events.time import format_time
from driftloop.spec.model import ModelSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import feature_frame
from driftloop.training.river import RiverEstimator, river_pipeline

if TYPE_CHECKING:
    from driftloop.training.train import Champion

__all__ = ["LearnedOn", "Start", "starting_point"]


class LearnedOn(Struct, frozen=True, kw_only=True):
    """From which version a River model learned on, None if it began anew, and why. ``rows_before``: how many rows it
    had learned in all by then; ``new_rows``: those later than ``from_ms``, which were split into learned ones and
    holdout."""

    version: str | None
    reason: str
    rows_before: int
    new_rows: int
    from_ms: int | None = None


@dataclass(frozen=True, eq=False)
class Start:
    """The model to go on with, which :meth:`learn` never changes, and the rows on both sides of where it stopped."""

    pipeline: Pipeline
    learned: TrainingSet
    new: TrainingSet
    report: LearnedOn

    def learn(self, spec: ModelSpec, rows: TrainingSet) -> tuple[Pipeline, NDArray[np.float64]]:
        """A model that has learned ``rows`` too, in order of time, and what it said of each before it learned it, in
        the form of :func:`~driftloop.training.estimators.predict`."""
        model: Any = self.pipeline[-1].copy()
        said = model.learn(feature_frame(spec, rows.frame), rows.labels)
        return Pipeline([("model", model)]), said[:, 1].copy() if spec.task == "binary" else said


def starting_point(spec: ModelSpec, data: TrainingSet, champion: Champion | None) -> Start:
    """The champion's state if the champion is the spec's River model on the same features, else an empty one.

    Rows that the champion has learned are not learned twice, and are no fair holdout for a model that goes on from
    there: only later ones are. Raises :class:`~driftloop.training.errors.EstimatorError` if those are fewer than
    ``training.minimum_rows``, or hold one class only where nothing has been learned yet.
    """
    fresh = river_pipeline(spec)
    if champion is None:
        return _anew(spec, fresh, data, "there is no champion")
    if champion.pipeline is None or not isinstance(champion.pipeline[-1], RiverEstimator):
        return _anew(spec, fresh, data, f"champion {champion.version} is no River model")
    if not fresh[-1].same_kind_as(champion.pipeline[-1]):
        return _anew(spec, fresh, data, f"champion {champion.version} has another model, parameters or features")
    if champion.trained_to_ms is None:
        return _anew(spec, fresh, data, f"it is not known which rows champion {champion.version} has learned")
    boundary = int(np.searchsorted(data.predicted_at_ms, champion.trained_to_ms, side="left"))
    new = data.rows(slice(boundary, None))
    if len(new) < spec.training.minimum_rows:
        raise EstimatorError(
            f"model {spec.model}: {len(new):,} rows are later than {format_time(champion.trained_to_ms)}, up to where "
            f"champion {champion.version} has learned, and training.minimum_rows is {spec.training.minimum_rows:,}"
        )
    report = LearnedOn(
        version=champion.version,
        reason=f"learned on from champion {champion.version}",
        rows_before=int(champion.pipeline[-1].rows_),
        new_rows=len(new),
        from_ms=champion.trained_to_ms,
    )
    return Start(champion.pipeline, data.rows(slice(0, boundary)), new, report)


def _anew(spec: ModelSpec, fresh: Pipeline, data: TrainingSet, reason: str) -> Start:
    if spec.task != "regression" and len(np.unique(data.labels)) < 2:
        raise EstimatorError(f"model {spec.model}: all {len(data)} labels are of one class; a classifier needs two")
    report = LearnedOn(version=None, reason=f"began anew: {reason}", rows_before=0, new_rows=len(data))
    return Start(fresh, data.rows(slice(0, 0)), data, report)
