"""The loss of each row, a number in [0, 1], and whether it counts as an error: what concept drift is looked for in.

``loss`` is graded: (score - label)^2 for a binary task, half of the sum over the classes of (probability - indicator)^2
for multiclass (Brier's score, halved so that it ends at 1), min(|prediction - label| / scale, 1) for a regression.
``error`` is 0 or 1: a wrong decision, a wrong likeliest class, an absolute error above the scale. The scale of a
regression is the 0.99 quantile of the reference's absolute errors.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.reference import LossReference, ReferenceProfile
from driftloop.spec.basics import Task

__all__ = ["loss_reference", "losses_of", "reference_losses"]

#: The quantile of the reference's absolute errors that is the scale of a regression.
SCALE_QUANTILE: Final = 0.99


def losses_of(
    task: Task, predictions: NDArray[np.float64], labels: NDArray[Any], decision_threshold: float, scale: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Errors and losses, each of shape (n,), of rows that :meth:`OutcomeStats.update` would take.

    >>> losses_of("binary", np.array([0.9, 0.2, 0.7]), np.array([1, 0, 0]), 0.5, 1.0)[0].tolist()
    [False, False, True]
    """
    if task == "multiclass":
        truth = labels.astype(np.int64)
        rows = np.arange(truth.size)
        of_truth = predictions[rows, truth]
        # The same as half the squared distance to the indicator, without making that.
        squares = (predictions * predictions).sum(axis=1) - 2.0 * of_truth + 1.0
        return predictions.argmax(axis=1) != truth, np.clip(0.5 * squares, 0.0, 1.0)
    if task == "binary":
        apart = predictions - labels
        return (predictions >= decision_threshold) != (labels == 1), apart * apart
    with np.errstate(over="ignore"):
        off = np.abs(predictions - labels)
        return off > scale, np.minimum(off / scale, 1.0)


def reference_losses(
    task: Task, predictions: NDArray[np.float64], labels: NDArray[Any], decision_threshold: float
) -> LossReference | None:
    """The losses of validation data, for a profile. None without rows, for predictions that are not finite, and for a
    regression without any error (it has no scale)."""
    scale = 1.0
    if not len(labels) or not np.isfinite(predictions).all():
        return None
    if task == "regression":
        off = np.abs(predictions - labels)
        scale = float(np.quantile(off, SCALE_QUANTILE))
        if not 0.0 < scale < math.inf:
            return None
    errors, losses = losses_of(task, predictions, labels, decision_threshold, scale)
    return LossReference(
        rows=len(losses),
        error_mean=float(errors.mean()),
        loss_mean=float(losses.mean()),
        loss_variance=float(losses.var(ddof=1)) if len(losses) > 1 else None,
        scale=scale,
    )


def loss_reference(task: Task, profile: ReferenceProfile) -> LossReference | None:
    """The profile's losses; for a profile made without them what its metrics tell, and None if they don't."""
    if profile.losses is not None or task == "regression":
        return profile.losses
    accuracy = profile.metrics.get("accuracy")
    if accuracy is None or accuracy.rows < 1:
        return None
    brier = profile.metrics.get("brier")  # that of a multiclass model, halved, is not among its metrics
    return LossReference(
        rows=accuracy.rows, error_mean=1.0 - accuracy.value, loss_mean=None if brier is None else brier.value
    )
