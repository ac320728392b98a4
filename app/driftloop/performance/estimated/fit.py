"""Fitting estimator tables on the reference: out-of-sample predictions with their labels."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.binary import log_losses
from driftloop.performance.estimated.calibration import fit_where_it_helps
from driftloop.performance.estimated.cells import fit_cells
from driftloop.performance.estimated.loss_trees import fit_loss_trees
from driftloop.performance.estimated.regression import LOSSES
from driftloop.profiles.columns import PREDICTION, Columns
from driftloop.profiles.estimators import EstimatorTables
from driftloop.spec.model import ModelSpec

__all__ = ["MINIMUM_REFERENCE_ROWS", "fit_estimators"]

#: With fewer reference rows nothing is estimated.
MINIMUM_REFERENCE_ROWS: Final = 100


def fit_estimators(
    spec: ModelSpec,
    columns: Columns,
    outputs: NDArray[np.float64],
    labels: NDArray[np.int64] | NDArray[np.float64],
) -> EstimatorTables | None:
    """Tables from the reference's predictions (n,), or (n, classes) for multiclass, and labels (n,).

    ``columns`` are the features. The predictions must be out of sample: a model is more certain of the rows it was
    fitted on. None if the spec wants no estimates, with fewer than 100 rows, or if a loss is not finite.
    """
    if spec.performance.estimate is False or len(outputs) < MINIMUM_REFERENCE_ROWS or not np.isfinite(outputs).all():
        return None
    if spec.task == "binary":
        return _binary(outputs, np.asarray(labels, np.float64), spec.performance.decision_threshold)
    if spec.task == "multiclass":
        return _multiclass(outputs, np.asarray(labels, np.int64))
    return _regression(spec, columns, outputs, np.asarray(labels, np.float64))


def _binary(scores: NDArray[np.float64], truth: NDArray[np.float64], threshold: float) -> EstimatorTables:
    positive = (scores >= threshold).astype(np.float64)
    losses = {
        "accuracy": (positive == truth).astype(np.float64),
        "brier": np.square(scores - truth),
        "log_loss": log_losses(np.where(truth == 1.0, scores, 1.0 - scores)),
        "true_positive": positive * truth,
        "false_positive": positive * (1.0 - truth),
        "false_negative": (1.0 - positive) * truth,
    }
    return EstimatorTables(
        rows=scores.size, cells=fit_cells(scores, losses), calibration=[fit_where_it_helps(scores, truth)]
    )


def _multiclass(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> EstimatorTables:
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    at = np.arange(len(scores))
    losses = {"accuracy": (predicted == truth).astype(np.float64), "log_loss": log_losses(scores[at, truth])}
    return EstimatorTables(
        rows=len(scores),
        cells=fit_cells(scores[at, predicted], losses, predicted, classes),
        calibration=[fit_where_it_helps(scores[:, k], (truth == k).astype(np.float64)) for k in range(classes)],
    )


def _regression(
    spec: ModelSpec, columns: Columns, outputs: NDArray[np.float64], truth: NDArray[np.float64]
) -> EstimatorTables | None:
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(outputs - truth)
        losses = dict(zip(LOSSES, (error, error * error), strict=True))
        if not all(np.isfinite(np.square(loss)).all() for loss in losses.values()):
            return None
    trees = None
    if spec.performance.estimate:
        # As for the models themselves: vectors and texts are only watched.
        plain = [name for name, feature in spec.features.items() if feature.kind in ("numeric", "categorical")]
        features = {name: columns[name] for name in plain}
        trees = fit_loss_trees({**features, PREDICTION: outputs}, np.stack([*losses.values()], axis=1), LOSSES)
    return EstimatorTables(rows=outputs.size, cells=fit_cells(outputs, losses), trees=trees)
