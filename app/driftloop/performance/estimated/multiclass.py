"""CBPE for a multiclass task: calibrated class probabilities (one class against the rest, then normed) as outcomes.

Reference: as for :mod:`driftloop.performance.estimated.binary`; one against the rest: B. Zadrozny, C. Elkan, KDD 2002.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.binary import LOG_LOSS_CLIP
from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.estimated.cells import around, fitted_noise, weighted_metrics
from driftloop.performance.logarithm import natural_log
from driftloop.performance.metrics import MetricValue
from driftloop.performance.sparse import load_sparse, to_sparse
from driftloop.profiles.estimators import EstimatorTables

__all__ = ["MulticlassEstimates", "multiclass_rows"]

_UNIT: Final = 2.0**32
_CELL, _PREDICTED, _FIRST = range(3)
_RIGHT_VARIANCE, _LOSS, _LOSS_VARIANCE = range(3)


def multiclass_rows(tables: EstimatorTables, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each row adds to :class:`MulticlassEstimates`, shape (n, 5 + classes); ``scores`` (n, classes)."""
    rows = np.empty((_FIRST + 3 + scores.shape[1], len(scores))).T  # so that each column is written in one piece
    predicted = scores.argmax(axis=1)
    at = np.arange(len(scores))
    rows[:, _CELL] = tables.cells.index(scores[at, predicted], predicted)
    rows[:, _PREDICTED] = predicted
    chance = _calibrated(tables, scores)
    right = chance[at, predicted]
    rows[:, _FIRST + _RIGHT_VARIANCE] = right * (1.0 - right)
    losses = -natural_log(np.clip(scores, LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP).ravel()).reshape(scores.shape)
    # Summed class by class: numpy's sum over an axis may take another order on another machine.
    mean, square = np.zeros(len(scores)), np.zeros(len(scores))
    for chance_k, loss_k in zip(chance.T, losses.T, strict=True):
        mean += chance_k * loss_k
        square += chance_k * loss_k * loss_k
    rows[:, _FIRST + _LOSS] = mean
    rows[:, _FIRST + _LOSS_VARIANCE] = np.maximum(0.0, square - mean * mean)
    rows[:, _FIRST + 3 :] = np.rint(chance * _UNIT)
    return rows


def _calibrated(tables: EstimatorTables, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    known = tables.calibration or [None] * scores.shape[1]
    parts = [scores[:, k] if found is None else found.apply(scores[:, k]) for k, found in enumerate(known)]
    total = np.zeros(len(scores))
    for part in parts:
        total += part
    # A row to which no class is possible after calibration keeps the model's own probabilities.
    lost = total <= 0.0
    if lost.any():
        parts = [np.where(lost, scores[:, k], part) for k, part in enumerate(parts)]
        total = np.where(lost, np.maximum(scores.sum(axis=1), LOG_LOSS_CLIP), total)
    return np.stack([part / total for part in parts], axis=1)


class MulticlassEstimates:
    """Mergeable sums of a window's expected confusion matrix (row: predicted class) and losses."""

    __slots__ = ("bounded", "cells", "classes", "predicted", "rows", "tables", "units")

    def __init__(self, tables: EstimatorTables, classes: int) -> None:
        self.tables = tables
        self.classes = classes
        self.rows = 0
        self.cells = np.zeros(len(tables.cells.rows), np.int64)
        self.units = np.zeros(classes * classes, np.int64)
        self.predicted = np.zeros(classes, np.int64)
        self.bounded = BoundedSums(3)

    def update(self, rows: NDArray[np.float64]) -> None:
        """Add rows of :func:`multiclass_rows`."""
        if not len(rows):
            return
        self.rows += len(rows)
        predicted = rows[:, _PREDICTED].astype(np.int64)
        self.cells += np.bincount(rows[:, _CELL].astype(np.int64), minlength=self.cells.size)
        self.predicted += np.bincount(predicted, minlength=self.classes)
        matrix = self.units.reshape(self.classes, self.classes)
        np.add.at(matrix, predicted, rows[:, _FIRST + 3 :].astype(np.int64))
        self.bounded.add(np.array(rows[:, _FIRST : _FIRST + 3].T, order="C"), 1)

    def merge(self, other: MulticlassEstimates) -> None:
        self.rows += other.rows
        self.cells += other.cells
        self.predicted += other.predicted
        self.units += other.units
        self.bounded.merge(other.bounded)

    def copy(self) -> MulticlassEstimates:
        twin = MulticlassEstimates(self.tables, self.classes)
        twin.merge(self)
        return twin

    def to_wire(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "cells": to_sparse(self.cells),
            "predicted": to_sparse(self.predicted),
            "units": to_sparse(self.units),
            "bounded": self.bounded.to_wire(),
        }

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.rows = int(wire["rows"])
        self.cells = load_sparse(wire["cells"], self.cells.size)
        self.predicted = load_sparse(wire["predicted"], self.classes)
        self.units = load_sparse(wire["units"], self.units.size)
        self.bounded.load(wire["bounded"])

    def weighted(self, confidence: float) -> dict[str, MetricValue]:
        """By the reference's losses in the cells of predicted class and its probability."""
        return weighted_metrics(self.tables.cells, self.cells.tolist(), "multiclass", confidence)

    def metrics(self, confidence: float) -> dict[str, MetricValue]:
        """Expected metrics; what the interval covers is as for binary (that of macro F1: the window's own labels)."""
        rows = self.rows
        if not rows:
            return {}
        matrix = (self.units.reshape(self.classes, self.classes) / _UNIT).tolist()
        right = math.fsum(matrix[k][k] for k in range(self.classes))
        fitted = {loss: fitted_noise(self.tables.cells, self.cells.tolist(), loss) for loss in ("accuracy", "log_loss")}
        own = {
            name: self.bounded.mean(index, 1) / rows**2
            for name, index in (("accuracy", _RIGHT_VARIANCE), ("log_loss", _LOSS_VARIANCE))
        }
        loss = self.bounded.mean(_LOSS, rows)
        return {
            "accuracy": around(right / rows, own["accuracy"] + fitted["accuracy"], confidence, 1.0, rows),
            "log_loss": around(loss, own["log_loss"] + fitted["log_loss"], confidence, None, rows),
            "macro_f1": self._macro_f1(matrix, confidence),
        }

    def _macro_f1(self, matrix: list[list[float]], confidence: float) -> MetricValue:
        """Mean of 2 E[hits] / (rows predicted + E[rows true]) over the classes that are predicted or likely at all.

        Interval by the delta method over the expected confusion matrix, as for the realised one (Takahashi 2022).
        """
        size, rows = self.classes, self.rows
        true = [math.fsum(matrix[j][k] for j in range(size)) for k in range(size)]
        support = [self.predicted.tolist()[k] + true[k] for k in range(size)]
        seen = [k for k in range(size) if support[k] > 0.0]
        if not seen:
            return MetricValue(None, None, None, rows)
        scores = [2.0 * matrix[k][k] / support[k] if support[k] > 0.0 else 0.0 for k in range(size)]
        value = math.fsum(scores[k] for k in seen) / len(seen)
        noise = 0.0
        for j in range(size):
            count = self.predicted.tolist()[j]
            if not count:
                continue
            slopes = [
                ((2.0 if j == k else 0.0) - scores[k]) / support[k] / len(seen) if support[k] > 0.0 else 0.0
                for k in range(size)
            ]
            first = math.fsum(slope * cell for slope, cell in zip(slopes, matrix[j], strict=True))
            second = math.fsum(slope * slope * cell for slope, cell in zip(slopes, matrix[j], strict=True))
            noise += max(0.0, second - first * first / count)
        return around(min(1.0, value), noise, confidence, 1.0, rows)

    def __eq__(self, other: object) -> bool:
        return self.to_wire() == other.to_wire() if isinstance(other, MulticlassEstimates) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
