"""Permutation importance on the holdout: how much worse a model predicts when a feature's values are shuffled.

L. Breiman, "Random forests", Machine Learning 45, 2001; A. Fisher et al., "All models are wrong, but many are useful",
Journal of Machine Learning Research 20, 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from driftloop.spec.basics import Task
from driftloop.spec.model import ModelSpec
from driftloop.training.estimators import predict

__all__ = ["MAX_ROWS", "REPEATS", "permutation_importances"]

#: Rows of the holdout that are used, and shuffles of each feature: the model predicts for at most
#: ``MAX_ROWS * (REPEATS * features + 1)`` rows.
MAX_ROWS = 1_000
REPEATS = 3

_TINY = 1e-15


def permutation_importances(
    pipeline: Pipeline, spec: ModelSpec, frame: pd.DataFrame, labels: NDArray[Any], *, seed: int
) -> dict[str, float]:
    """The mean growth of the loss (log loss, for regression the squared error) by feature, 0 where there is none.

    Vectors and texts, which models are not fitted on, are left out. Empty if predictions are not finite.
    """
    rng = np.random.default_rng(seed)
    if len(frame) > MAX_ROWS:
        chosen = np.sort(rng.choice(len(frame), MAX_ROWS, replace=False))
        frame, labels = frame.iloc[chosen], labels[chosen]
    frame = frame.reset_index(drop=True)
    whole = _loss(spec.task, predict(pipeline, spec, frame), labels)
    if not np.isfinite(whole):
        return {}
    importances: dict[str, float] = {}
    for name, feature in spec.features.items():
        if feature.kind not in ("numeric", "categorical"):
            continue
        growth = 0.0
        for _ in range(REPEATS):
            order = rng.permutation(len(frame))
            shuffled = frame.assign(**{name: frame[name].to_numpy()[order]})
            growth += _loss(spec.task, predict(pipeline, spec, shuffled), labels) - whole
        importances[name] = max(growth / REPEATS, 0.0)
    return importances


def _loss(task: Task, predictions: NDArray[np.float64], labels: NDArray[Any]) -> float:
    if task == "regression":
        return float(np.mean((predictions - labels) ** 2))
    if task == "binary":
        of_label = np.where(labels == 1, predictions, 1.0 - predictions)
    else:
        of_label = predictions[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(of_label, _TINY, 1.0)).mean())
