"""The bounded losses in which challenger and champion are compared, row by row."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.performance.losses import losses_of
from driftloop.spec.basics import Task
from driftloop.spec.shadow import LossName

__all__ = ["LOWEST_PROBABILITY", "BoundedLoss", "bounded_loss"]

#: Probabilities of what came true count as no lower than this in ``log_loss``, so that it has a bound.
LOWEST_PROBABILITY: Final = 0.001


class BoundedLoss(Struct, frozen=True, kw_only=True):
    """A loss in [0, ``bound``], in its own unit. ``scale``: the absolute error of a regression from which on a row's
    loss is ``bound``."""

    name: LossName
    bound: float
    scale: float = 1.0

    def rows(
        self, task: Task, predictions: NDArray[np.float64], labels: NDArray[Any], decision_threshold: float
    ) -> NDArray[np.float64]:
        """The loss of each row, shape (n,), in [0, ``bound``].

        ``predictions`` (n,), or (n, k) for multiclass; ``labels`` (n,): 0 or 1, class index, or float. A prediction
        that is not a finite number has the largest loss there is: a model that gives none is no better than the worst.

        >>> loss = bounded_loss("binary", "brier", None)
        >>> loss.rows("binary", np.array([0.5, 1.0, np.nan]), np.array([1, 1, 1]), 0.5).tolist()
        [0.25, 0.0, 1.0]
        """
        finite = np.isfinite(predictions) if predictions.ndim == 1 else np.isfinite(predictions).all(axis=1)
        losses = np.full(len(labels), self.bound, np.float64)
        if finite.any():
            losses[finite] = self._of_finite(task, predictions[finite], labels[finite], decision_threshold)
        return np.clip(losses, 0.0, self.bound)

    def _of_finite(
        self, task: Task, predictions: NDArray[np.float64], labels: NDArray[Any], decision_threshold: float
    ) -> NDArray[np.float64]:
        if self.name == "log_loss":
            if task == "multiclass":
                of_truth = predictions[np.arange(len(labels)), labels.astype(np.int64)]
            else:
                of_truth = np.where(labels == 1, predictions, 1.0 - predictions)
            return -np.log(np.clip(of_truth, LOWEST_PROBABILITY, 1.0))
        errors, graded = losses_of(task, predictions, labels, decision_threshold, self.scale)
        if self.name == "error":
            return errors.astype(np.float64)
        if self.name == "squared_error":
            return np.square(graded) * self.bound
        return graded * self.bound


def bounded_loss(task: Task, name: LossName, scale: float | None) -> BoundedLoss | None:
    """The loss with its bound: 1 for ``brier`` (halved for multiclass) and ``error``, -ln 0.001 for ``log_loss``, for a
    regression the reference's ``scale`` or its square. None for a regression without one: nobody knows then how large
    an error is, and without a bound there is no verdict that holds at all times."""
    if task == "regression":
        if scale is None or not 0.0 < scale < math.inf or not math.isfinite(scale * scale):
            return None
        return BoundedLoss(name=name, bound=scale * scale if name == "squared_error" else scale, scale=scale)
    return BoundedLoss(name=name, bound=-math.log(LOWEST_PROBABILITY) if name == "log_loss" else 1.0)
