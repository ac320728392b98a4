"""Sums of a multiclass task: a probability for each class against the index of the true one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.binary import log_losses
from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.intervals import normal_interval, wilson_interval, z_value
from driftloop.performance.metrics import TASK_METRICS, MetricValue
from driftloop.performance.sparse import load_sparse, to_sparse

__all__ = ["MulticlassSums"]


class MulticlassSums:
    """Confusion matrix (row: truth, column: likeliest class, the first of several) and log loss with its square."""

    __slots__ = ("bounded", "classes", "confusion")

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise ValueError(f"a multiclass task needs at least two classes, got {classes}")
        self.classes = classes
        self.bounded = BoundedSums(2)
        self.confusion = np.zeros(classes * classes, np.int64)

    def update(self, predictions: NDArray[np.float64], labels: NDArray[np.int64], sign: int) -> None:
        """Predictions have shape (n, classes). Raises ``ValueError`` before anything is counted if something is off."""
        if predictions.ndim != 2 or predictions.shape[1] != self.classes:
            raise ValueError(f"predictions must have shape (n, {self.classes}), got {predictions.shape}")
        if not (predictions.min() >= 0.0 and predictions.max() <= 1.0):
            raise ValueError("predictions of a multiclass task are probabilities in [0, 1]; at least one here is not")
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(f"labels must be class indices from 0 to {self.classes - 1}; at least one here is not")
        losses = log_losses(predictions[np.arange(labels.size), labels])
        self.bounded.add(np.stack((losses, losses * losses)), sign)
        np.add.at(self.confusion, labels * self.classes + predictions.argmax(axis=1), sign)

    def merge(self, other: MulticlassSums) -> None:
        self.bounded.merge(other.bounded)
        self.confusion += other.confusion

    def copy(self) -> MulticlassSums:
        twin = MulticlassSums.__new__(MulticlassSums)
        twin.classes = self.classes
        twin.bounded = self.bounded.copy()
        twin.confusion = self.confusion.copy()
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return int(self.confusion.min()) >= 0

    def metrics(self, confidence: float) -> dict[str, MetricValue]:
        """Every multiclass metric, in the order of ``TASK_METRICS``."""
        matrix = self.confusion.reshape(self.classes, self.classes).tolist()
        rows = sum(map(sum, matrix))
        accuracy = sum(matrix[index][index] for index in range(self.classes)) / rows
        low, high = wilson_interval(accuracy, rows, confidence)
        found = {
            "accuracy": MetricValue(accuracy, low, high, rows),
            "log_loss": self._log_loss(rows, confidence),
            "macro_f1": _macro_f1(matrix, rows, confidence),
        }
        return {name: found[name] for name in TASK_METRICS["multiclass"]}

    def _log_loss(self, rows: int, confidence: float) -> MetricValue:
        mean = self.bounded.mean(0, rows)
        if rows < 2:
            return MetricValue(mean, None, None, rows)
        low, high = normal_interval(mean, self.bounded.variance(0, 1, rows), rows, confidence)
        return MetricValue(mean, None if low is None else max(0.0, low), high, rows)

    def to_wire(self) -> dict[str, Any]:
        return {"bounded": self.bounded.to_wire(), "confusion": to_sparse(self.confusion)}

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.bounded.load(wire["bounded"])
        self.confusion = load_sparse(wire["confusion"], self.classes * self.classes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MulticlassSums):
            return NotImplemented
        return self.bounded == other.bounded and np.array_equal(self.confusion, other.confusion)

    __hash__ = None  # type: ignore[assignment]


def _macro_f1(matrix: list[list[int]], rows: int, confidence: float) -> MetricValue:
    """Mean F1 over the classes that are true or predicted at least once, interval by the delta method.

    Reference: K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama, "Confidence interval for micro-averaged F1 and
    macro-averaged F1 scores", Applied Intelligence 52, 2022.
    """
    size = len(matrix)
    # s_i = rows true as i + rows predicted as i (a hit counts in both), F1_i = 2 hits_i / s_i.
    support = [sum(matrix[i]) + sum(row[i] for row in matrix) for i in range(size)]
    seen = [i for i in range(size) if support[i]]
    value = math.fsum(2 * matrix[i][i] / support[i] for i in seen) / len(seen)
    if rows < 2:
        return MetricValue(value, None, None, rows)
    # Gradient of the sum of F1 by the share of one cell, over rows: a hit of i, and a miss that touches i.
    miss = [2 * matrix[i][i] * rows / support[i] ** 2 if support[i] else 0.0 for i in range(size)]
    hit = [2 * rows / support[i] - 2.0 * miss[i] if support[i] else 0.0 for i in range(size)]
    cells = [
        (matrix[i][j], (hit[i] if i == j else -(miss[i] + miss[j])) / len(seen))
        for i in range(size)
        for j in range(size)
    ]
    first = math.fsum(count * slope for count, slope in cells) / rows
    second = math.fsum(count * slope * slope for count, slope in cells) / rows
    half = z_value(confidence) * math.sqrt(max(0.0, second - first * first) / rows)
    return MetricValue(value, max(0.0, value - half), min(1.0, value + half), rows)
