"""A model that was trained elsewhere, in place of one that driftloop fits: everything after that is the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from driftloop.spec.model import ModelSpec
from driftloop.training import artifacts, progress
from driftloop.training.dataset import TrainingSet
from driftloop.training.errors import EstimatorError
from driftloop.training.estimators import feature_frame, predict

__all__ = ["Brought", "brought_from"]

_SOME_ROWS = 200
_HOW = "hand back a fitted scikit-learn Pipeline that takes a frame of the spec's features, written with skops.io.dump"


@dataclass(frozen=True, eq=False)
class Brought:
    """The pipeline, and the file that it came in, which is the one to be registered."""

    pipeline: Pipeline
    artifact: bytes

    def out_of_sample(self, spec: ModelSpec, rows: TrainingSet) -> NDArray[np.float64]:
        """Predictions of rows that it was trained on, each half in time by a copy fitted on the other half. Where a
        copy cannot be fitted here, by the model itself: in-sample predictions are better than none."""
        progress.phase("fitting copies of the model that was handed back, for the reference profile")
        half = len(rows) // 2
        parts = []
        for inside, outside in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
            frame = rows.frame.iloc[inside]
            try:
                model = clone(self.pipeline)
                model.fit(feature_frame(spec, rows.frame.iloc[outside]), rows.labels[outside])
                said = predict(model, spec, frame)
            except Exception as error:  # noqa: BLE001 - a foreign pipeline may raise anything, and this is no gate
                progress.line(
                    f"a copy of the model could not be fitted ({type(error).__name__}: {error}); the reference profile "
                    "has in-sample predictions"
                )
                said = predict(self.pipeline, spec, frame)
            parts.append(said)
        return np.concatenate(parts)


def brought_from(spec: ModelSpec, data: TrainingSet, artifact: bytes) -> Brought:
    """The model in a file, if it is one that can be judged.

    Raises :class:`~driftloop.training.artifacts.ArtifactError` for a file that is no skops archive of a pipeline or
    holds types that are not trusted, and :class:`~driftloop.training.errors.EstimatorError` if it does not predict rows
    of ``data``.
    """
    try:
        pipeline = artifacts.load(artifact)
    except artifacts.ArtifactError as error:
        raise artifacts.ArtifactError(f"what was handed back cannot be judged: {error}; {_HOW}") from error
    try:
        predict(pipeline, spec, data.frame.iloc[-_SOME_ROWS:])
    except Exception as error:
        raise EstimatorError(
            f"the model that was handed back does not predict the holdout ({type(error).__name__}: {error}); {_HOW}"
        ) from error
    return Brought(pipeline, artifact)
