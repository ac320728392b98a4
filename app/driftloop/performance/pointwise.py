"""Metrics of arrays at hand, by the very sums that the windows use: for training gates and reference values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.binary import log_losses
from driftloop.performance.metrics import MetricValue
from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.basics import Task
from driftloop.spec.metrics import TASK_METRICS, reported_metrics
from driftloop.spec.model import ModelSpec

__all__ = ["MEAN_METRICS", "evaluate", "evaluate_model", "row_values"]

#: Task to the metrics that are means of one number for each row (``rmse`` is the root of such a mean).
MEAN_METRICS: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("log_loss", "accuracy", "brier", "base_rate", "mean_score"),
    "regression": ("mae", "bias", "mean_label"),
    "multiclass": ("accuracy", "log_loss"),
    "ranking": (),
}


def evaluate(
    task: Task,
    predictions: NDArray[np.float64],
    labels: NDArray[np.int64] | NDArray[np.float64],
    classes: Sequence[str] = (),
    decision_threshold: float = 0.5,
    confidence: float = 0.95,
    names: Iterable[str] | None = None,
) -> dict[str, MetricValue]:
    """Every metric of the task with its interval, or those named. Shapes and errors as for
    :meth:`OutcomeStats.update`.

    >>> evaluate("binary", np.array([0.1, 0.4, 0.8]), np.array([0, 0, 1]))["roc_auc"].value
    1.0
    """
    center = float(np.mean(labels)) if task == "regression" and len(labels) else 0.0
    stats = OutcomeStats(task, classes, decision_threshold, center if np.isfinite(center) else 0.0)
    stats.add_predicted(len(predictions))
    stats.update(predictions, labels, np.zeros(len(predictions), np.int64))
    return stats.metrics(confidence, names)


def evaluate_model(
    spec: ModelSpec,
    predictions: NDArray[np.float64],
    labels: NDArray[np.int64] | NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    confidence: float = 0.95,
) -> dict[str, MetricValue]:
    """Every metric of the model's task, and those that its spec names, with the spec's settings: reference values.

    ``weights`` (n,): the value column of the rows, if the spec has one. Shapes and errors as for
    :meth:`OutcomeStats.update`.
    """
    center = float(np.mean(labels)) if spec.task == "regression" and len(labels) else 0.0
    stats = OutcomeStats.of_spec(spec, center if np.isfinite(center) else 0.0, arrivals=False)
    stats.update(predictions, labels, np.zeros(len(predictions), np.int64), weights=weights)
    return stats.metrics(confidence, dict.fromkeys([*TASK_METRICS[spec.task], *reported_metrics(spec)]))


def row_values(
    task: Task,
    metric: str,
    predictions: NDArray[np.float64],
    labels: NDArray[np.int64] | NDArray[np.float64],
    decision_threshold: float = 0.5,
) -> NDArray[np.float64]:
    """The number of each row, shape (n,), whose mean is the metric: for paired comparisons and resampling.

    Raises ``ValueError`` for a metric that is no such mean (:data:`MEAN_METRICS` lists those that are).
    """
    if metric not in MEAN_METRICS[task]:
        raise ValueError(
            f"{metric!r} is not a mean over rows of a {task} task; those are {', '.join(MEAN_METRICS[task])}"
        )
    truth: NDArray[np.float64] = np.asarray(labels, np.float64)
    if task == "multiclass":
        likely = predictions.argmax(axis=1)
        if metric == "accuracy":
            return np.asarray(likely == truth, np.float64)
        return log_losses(predictions[np.arange(len(truth)), truth.astype(np.int64)])
    if metric == "accuracy":
        return np.asarray((predictions >= decision_threshold) == (truth == 1), np.float64)
    if metric == "log_loss":
        return log_losses(np.where(truth == 1, predictions, 1.0 - predictions))
    if metric == "mean_score":
        return predictions.astype(np.float64)
    if metric in ("base_rate", "mean_label"):
        return truth
    error = np.asarray(predictions - truth, np.float64)
    if metric == "brier":
        return error * error
    return np.abs(error) if metric == "mae" else error
