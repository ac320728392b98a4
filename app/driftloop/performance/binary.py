"""Sums of a binary task: scores in [0, 1] against labels 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance import ranking
from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.intervals import normal_interval, wilson_interval
from driftloop.performance.logarithm import natural_log
from driftloop.performance.metrics import TASK_METRICS, MetricValue
from driftloop.performance.sparse import load_sparse, to_sparse

__all__ = ["LOG_LOSS_CLIP", "BinarySums"]

#: Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does for float64 (its machine epsilon).
LOG_LOSS_CLIP: Final = 2.0**-52

_LOSS, _LOSS_SQUARE, _BRIER, _BRIER_SQUARE, _SCORE, _SCORE_SQUARE = range(6)


def log_losses(probability_of_truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log of the probability that was given to what turned out true, shape (n,), clipped by :data:`LOG_LOSS_CLIP`."""
    losses = natural_log(np.clip(probability_of_truth, LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP))
    return np.negative(losses, out=losses)


class BinarySums:
    """Confusion matrix, score histogram per class, sums of log loss, Brier score and score with their squares.

    A score of at least ``decision_threshold`` counts as a positive decision.
    """

    __slots__ = ("_bins", "bounded", "confusion", "decision_threshold", "scores")

    def __init__(self, decision_threshold: float, score_bins: int) -> None:
        self._bins = ranking.score_bins(score_bins)
        self.decision_threshold = decision_threshold
        self.bounded = BoundedSums(6)
        self.confusion = [0, 0, 0, 0]  # true negatives, false positives, false negatives, true positives
        self.scores = np.zeros(2 * self._bins.size, np.int64)  # negatives' bins, then positives'

    def update(self, predictions: NDArray[np.float64], labels: NDArray[np.int64], sign: int) -> None:
        """Raises ``ValueError`` before anything is counted if a score is outside [0, 1] or a label not 0 or 1."""
        if not (predictions.min() >= 0.0 and predictions.max() <= 1.0):
            raise ValueError("predictions of a binary task are probabilities in [0, 1]; at least one here is not")
        if labels.min() < 0 or labels.max() > 1:
            raise ValueError("labels of a binary task are 0 or 1; at least one here is neither")
        terms = np.empty((6, predictions.size))
        positive = labels == 1
        truth = np.where(positive, predictions, 1.0 - predictions)
        losses = log_losses(truth)
        terms[_LOSS] = losses
        np.multiply(losses, losses, out=terms[_LOSS_SQUARE])
        brier = terms[_BRIER]
        np.subtract(predictions, labels, out=brier)
        brier *= brier
        np.multiply(brier, brier, out=terms[_BRIER_SQUARE])
        terms[_SCORE] = predictions
        np.multiply(predictions, predictions, out=terms[_SCORE_SQUARE])
        self.bounded.add(terms, sign)
        cells = np.bincount(2 * labels + (predictions >= self.decision_threshold), minlength=4).tolist()
        self.confusion = [mine + sign * new for mine, new in zip(self.confusion, cells, strict=True)]
        np.add.at(self.scores, self._bins.index(predictions) + labels * self._bins.size, sign)

    def merge(self, other: BinarySums) -> None:
        self.bounded.merge(other.bounded)
        self.confusion = [mine + theirs for mine, theirs in zip(self.confusion, other.confusion, strict=True)]
        self.scores += other.scores

    def copy(self) -> BinarySums:
        twin = BinarySums.__new__(BinarySums)
        twin._bins = self._bins
        twin.decision_threshold = self.decision_threshold
        twin.bounded = self.bounded.copy()
        twin.confusion = self.confusion.copy()
        twin.scores = self.scores.copy()
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return min(self.confusion) >= 0 and int(self.scores.min()) >= 0

    def auc_error_bound(self) -> float | None:
        """See :func:`driftloop.performance.ranking.auc_error_bound`."""
        size = self._bins.size
        return ranking.auc_error_bound(self.scores[size:], self.scores[:size])

    def metrics(self, confidence: float) -> dict[str, MetricValue]:
        """Every binary metric, in the order of ``TASK_METRICS``."""
        true_negatives, false_positives, false_negatives, true_positives = self.confusion
        rows = sum(self.confusion)
        size = self._bins.size
        positives, negatives = self.scores[size:], self.scores[:size]
        low, high = ranking.auc_interval(positives, negatives, confidence)
        wrong = false_positives + false_negatives
        found = {
            "roc_auc": MetricValue(ranking.roc_auc(positives, negatives), low, high, rows),
            "log_loss": self._mean(_LOSS, rows, confidence, None),
            "accuracy": _proportion(true_positives + true_negatives, rows, rows, confidence),
            "brier": self._mean(_BRIER, rows, confidence, 1.0),
            "base_rate": _proportion(true_positives + false_negatives, rows, rows, confidence),
            "precision": _proportion(true_positives, true_positives + false_positives, rows, confidence),
            "recall": _proportion(true_positives, true_positives + false_negatives, rows, confidence),
            "f1": _f1(true_positives, wrong, rows, confidence),
            "mean_score": self._mean(_SCORE, rows, confidence, 1.0),
        }
        return {name: found[name] for name in TASK_METRICS["binary"]}

    def _mean(self, index: int, rows: int, confidence: float, most: float | None) -> MetricValue:
        mean = self.bounded.mean(index, rows)
        if rows < 2:
            return MetricValue(mean, None, None, rows)
        low, high = normal_interval(mean, self.bounded.variance(index, index + 1, rows), rows, confidence)
        if low is None or high is None:
            return MetricValue(mean, None, None, rows)
        return MetricValue(mean, max(0.0, low), high if most is None else min(most, high), rows)

    def to_wire(self) -> dict[str, Any]:
        return {"bounded": self.bounded.to_wire(), "confusion": self.confusion, "scores": to_sparse(self.scores)}

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.bounded.load(wire["bounded"])
        confusion = [int(count) for count in wire["confusion"]]
        if len(confusion) != 4:
            raise ValueError(f"expected a confusion matrix of 4 counts, got {len(confusion)}")
        self.confusion = confusion
        self.scores = load_sparse(wire["scores"], 2 * self._bins.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BinarySums):
            return NotImplemented
        return (
            self.bounded == other.bounded
            and self.confusion == other.confusion
            and np.array_equal(self.scores, other.scores)
        )

    __hash__ = None  # type: ignore[assignment]


def _proportion(part: int, whole: int, rows: int, confidence: float) -> MetricValue:
    if whole == 0:
        return MetricValue(None, None, None, rows)
    value = part / whole
    low, high = wilson_interval(value, whole, confidence)
    return MetricValue(value, low, high, rows)


def _f1(true_positives: int, wrong: int, rows: int, confidence: float) -> MetricValue:
    """F1 = 2J / (1 + J), J = true positives / (true positives + wrong ones): a proportion with Wilson's interval."""
    whole = true_positives + wrong
    if whole == 0:
        return MetricValue(None, None, None, rows)
    low, high = wilson_interval(true_positives / whole, whole, confidence)
    value = 2 * true_positives / (2 * true_positives + wrong)
    return MetricValue(value, min(value, 2.0 * low / (1.0 + low)), max(value, 2.0 * high / (1.0 + high)), rows)
