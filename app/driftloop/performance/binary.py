"""Sums of a binary task: scores in [0, 1] against labels 0 and 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance import ranking
from driftloop.performance.average_precision import average_precision
from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.calibration import CalibrationGroups, brier_parts, calibration_error, calibration_groups
from driftloop.performance.confusion import CONFUSION_METRICS, Confusion, proportion
from driftloop.performance.exact_scores import ExactScores
from driftloop.performance.intervals import wilson_interval
from driftloop.performance.lift import lift
from driftloop.performance.logarithm import natural_log
from driftloop.performance.metrics import MetricValue
from driftloop.performance.score_table import ScoreTable
from driftloop.performance.sparse import load_sparse, to_sparse
from driftloop.performance.value import ValueSums
from driftloop.spec.model import ValueSpec

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

    A score of at least ``decision_threshold`` counts as a positive decision. The scores of up to ``exact_rows`` rows
    are kept beside the histogram. ``value``: what each outcome is worth.
    """

    __slots__ = ("_bins", "bounded", "confusion", "decision_threshold", "exact", "scores", "value")

    def __init__(
        self, decision_threshold: float, score_bins: int, exact_rows: int = 0, value: ValueSpec | None = None
    ) -> None:
        self._bins = ranking.score_bins(score_bins)
        self.exact = ExactScores(exact_rows) if exact_rows else None
        self.value = None if value is None else ValueSums(value)
        self.decision_threshold = decision_threshold
        self.bounded = BoundedSums(6)
        self.confusion = [0, 0, 0, 0]  # true negatives, false positives, false negatives, true positives
        self.scores = np.zeros(2 * self._bins.size, np.int64)  # negatives' bins, then positives'

    def update(
        self,
        predictions: NDArray[np.float64],
        labels: NDArray[np.int64],
        sign: int,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """``weights`` (n,): what the value of each row is multiplied with, NaN where unknown. Raises ``ValueError``
        before anything is counted if a score is outside [0, 1] or a label not 0 or 1."""
        if not (predictions.min() >= 0.0 and predictions.max() <= 1.0):
            raise ValueError("predictions of a binary task are probabilities in [0, 1]; at least one here is not")
        if labels.min() < 0 or labels.max() > 1:
            raise ValueError("labels of a binary task are 0 or 1; at least one here is neither")
        cell = 2 * labels + (predictions >= self.decision_threshold)
        if self.value is not None:
            self.value.update(cell, weights, sign)
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
        cells = np.bincount(cell, minlength=4).tolist()
        self.confusion = [mine + sign * new for mine, new in zip(self.confusion, cells, strict=True)]
        np.add.at(self.scores, self._bins.index(predictions) + labels * self._bins.size, sign)
        if self.exact is not None:
            self.exact.add(predictions, labels, sign)

    def merge(self, other: BinarySums) -> None:
        self.bounded.merge(other.bounded)
        self.confusion = [mine + theirs for mine, theirs in zip(self.confusion, other.confusion, strict=True)]
        self.scores += other.scores
        if self.exact is not None and other.exact is not None:
            self.exact.merge(other.exact)
        if self.value is not None and other.value is not None:
            self.value.merge(other.value)

    def copy(self) -> BinarySums:
        twin = BinarySums.__new__(BinarySums)
        twin._bins = self._bins
        twin.decision_threshold = self.decision_threshold
        twin.bounded = self.bounded.copy()
        twin.confusion = self.confusion.copy()
        twin.scores = self.scores.copy()
        twin.exact = None if self.exact is None else self.exact.copy()
        twin.value = None if self.value is None else self.value.copy()
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return min(self.confusion) >= 0 and int(self.scores.min()) >= 0

    def auc_error_bound(self) -> float | None:
        """See :func:`driftloop.performance.ranking.auc_error_bound`."""
        return _View(self, 0.95).roc_auc.error_bound

    def matrix(self) -> list[list[int]]:
        """The confusion matrix, row: truth, column: decision, negative first."""
        return [self.confusion[:2], self.confusion[2:]]

    def metrics(self, confidence: float, names: Iterable[str]) -> dict[str, MetricValue]:
        """These binary metrics; needs at least one row. Raises ``KeyError`` for a name that is none."""
        view = _View(self, confidence)
        return {name: _METRICS[name](view) for name in names}

    def score_table(self) -> ScoreTable:
        """Rows by score: exactly if they are still here, else from the histogram."""
        exact = None if self.exact is None else self.exact.table()
        size = self._bins.size
        return exact or ScoreTable.binned(self._bins.edges, self.scores[size:], self.scores[:size])

    def to_wire(self) -> dict[str, Any]:
        wire = {"bounded": self.bounded.to_wire(), "confusion": self.confusion, "scores": to_sparse(self.scores)}
        if self.exact is not None:
            wire["exact"] = self.exact.to_wire()
        if self.value is not None and self.value.sums:
            wire["value"] = self.value.to_wire()
        return wire

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.bounded.load(wire["bounded"])
        confusion = [int(count) for count in wire["confusion"]]
        if len(confusion) != 4:
            raise ValueError(f"expected a confusion matrix of 4 counts, got {len(confusion)}")
        self.confusion = confusion
        self.scores = load_sparse(wire["scores"], 2 * self._bins.size)
        if self.exact is not None:
            self.exact.load(wire["exact"])
        if self.value is not None and self.value.sums:
            self.value.load(wire["value"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BinarySums):
            return NotImplemented
        return (
            self.bounded == other.bounded
            and self.confusion == other.confusion
            and np.array_equal(self.scores, other.scores)
            and self.exact == other.exact
            and self.value == other.value
        )

    __hash__ = None  # type: ignore[assignment]


class _View:
    """Binary sums with what several metrics share, made when first asked for."""

    def __init__(self, sums: BinarySums, confidence: float) -> None:
        self.sums = sums
        self.confidence = confidence
        self.rows = sum(sums.confusion)

    @cached_property
    def confusion(self) -> Confusion:
        return Confusion(np.array(self.sums.matrix(), np.int64))

    @cached_property
    def table(self) -> ScoreTable:
        return self.sums.score_table()

    @cached_property
    def groups(self) -> CalibrationGroups:
        return calibration_groups(self.table)

    @cached_property
    def brier_parts(self) -> dict[str, MetricValue]:
        brier = self.sums.bounded.mean(_BRIER, self.rows)
        return brier_parts(self.groups, brier, self.confidence)

    def mean(self, index: int, most: float | None) -> MetricValue:
        return self.sums.bounded.mean_metric(index, self.rows, self.confidence, most)

    def share(self, part: int, whole: int) -> MetricValue:
        return proportion(part, whole, self.rows, self.confidence)

    @cached_property
    def roc_auc(self) -> MetricValue:
        positives, negatives = self.table.positives, self.table.negatives
        low, high = ranking.auc_interval(positives, negatives, self.confidence)
        bound = ranking.auc_error_bound(positives, negatives)
        if bound is not None and self.table.exact:
            bound = 0.0
        return MetricValue(ranking.roc_auc(positives, negatives), low, high, self.rows, bound)


def _gini(view: _View) -> MetricValue:
    """Twice the area less one."""
    auc = view.roc_auc
    value, low, high = (None if number is None else 2.0 * number - 1.0 for number in (auc.value, auc.low, auc.high))
    return MetricValue(value, low, high, view.rows, None if auc.error_bound is None else 2.0 * auc.error_bound)


def _cell(name: str, view: _View) -> MetricValue:
    true_negatives, false_positives, false_negatives, true_positives = view.sums.confusion
    if name == "precision":
        return view.share(true_positives, true_positives + false_positives)
    if name == "recall":
        return view.share(true_positives, true_positives + false_negatives)
    if name == "specificity":
        return view.share(true_negatives, true_negatives + false_positives)
    if name == "base_rate":
        return view.share(true_positives + false_negatives, view.rows)
    return _f1(true_positives, false_positives + false_negatives, view.rows, view.confidence)


def _money(name: str, view: _View) -> MetricValue:
    if view.sums.value is None:
        return MetricValue(None, None, None, view.rows)
    return view.sums.value.metrics(view.sums.confusion, view.confidence)[name]


_METRICS: Final[dict[str, Callable[[_View], MetricValue]]] = {
    "roc_auc": lambda view: view.roc_auc,
    "gini": _gini,
    "average_precision": lambda view: average_precision(view.table, view.confidence),
    "log_loss": lambda view: view.mean(_LOSS, None),
    "brier": lambda view: view.mean(_BRIER, 1.0),
    "mean_score": lambda view: view.mean(_SCORE, 1.0),
    "ece": lambda view: calibration_error(view.groups, view.confidence),
    "lift_10pct": lambda view: lift(view.table, view.confidence),
    **{name: partial(_cell, name) for name in ("precision", "recall", "specificity", "base_rate", "f1")},
    **{name: partial(_money, name) for name in ("value", "mean_value")},
    **{
        name: partial(lambda name, view: CONFUSION_METRICS[name](view.confusion, view.confidence), name)
        for name in ("accuracy", "balanced_accuracy", "mcc", "cohen_kappa")
    },
    **{
        name: partial(lambda name, view: view.brier_parts[name], name)
        for name in ("brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within")
    },
}


def _f1(true_positives: int, wrong: int, rows: int, confidence: float) -> MetricValue:
    """F1 = 2J / (1 + J), J = true positives / (true positives + wrong ones): a proportion with Wilson's interval."""
    whole = true_positives + wrong
    if whole == 0:
        return MetricValue(None, None, None, rows)
    low, high = wilson_interval(true_positives / whole, whole, confidence)
    value = 2 * true_positives / (2 * true_positives + wrong)
    return MetricValue(value, min(value, 2.0 * low / (1.0 + low)), max(value, 2.0 * high / (1.0 + high)), rows)
