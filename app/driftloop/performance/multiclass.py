"""Sums of a multiclass task: a probability for each class against the index of the true one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance import ranking
from driftloop.performance.binary import log_losses
from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.calibration import calibration_error, calibration_groups
from driftloop.performance.confusion import CONFUSION_METRICS, Confusion, proportion
from driftloop.performance.metrics import MetricValue
from driftloop.performance.score_table import ScoreTable
from driftloop.performance.sparse import load_sparse, to_sparse
from driftloop.spec.metrics import metric_parameter

__all__ = ["MulticlassSums"]

_LOSS, _LOSS_SQUARE, _BRIER, _BRIER_SQUARE = range(4)
_TOP_BINS: Final = 1024
#: Classes to bins of each class's scores: finer ones for fewer classes, none beyond the last. About 100 kB at most.
_CLASS_BINS: Final = ((4, 1024), (12, 512), (25, 256), (50, 128))


class MulticlassSums:
    """Confusion matrix (row: truth, column: likeliest class, the first of several), log loss and Brier score with their
    squares, the rank of the true class, the likeliest class's probability by whether it was right, and for up to 50
    classes a histogram of each class's probability for the rows of that class and for the others."""

    __slots__ = ("_class_bins", "bounded", "class_scores", "classes", "confusion", "ranks", "top")

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise ValueError(f"a multiclass task needs at least two classes, got {classes}")
        self.classes = classes
        self.bounded = BoundedSums(4)
        self.confusion = np.zeros(classes * classes, np.int64)
        self.ranks = np.zeros(classes, np.int64)
        self.top = np.zeros(2 * _TOP_BINS, np.int64)  # wrong, then right
        self._class_bins = next((bins for most, bins in _CLASS_BINS if classes <= most), 0)
        self.class_scores = np.zeros(2 * classes * self._class_bins, np.int64)  # by class: others, then its own

    def update(self, predictions: NDArray[np.float64], labels: NDArray[np.int64], sign: int) -> None:
        """Predictions have shape (n, classes). Raises ``ValueError`` before anything is counted if something is off."""
        if predictions.ndim != 2 or predictions.shape[1] != self.classes:
            raise ValueError(f"predictions must have shape (n, {self.classes}), got {predictions.shape}")
        if not (predictions.min() >= 0.0 and predictions.max() <= 1.0):
            raise ValueError("predictions of a multiclass task are probabilities in [0, 1]; at least one here is not")
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(f"labels must be class indices from 0 to {self.classes - 1}; at least one here is not")
        rows = np.arange(labels.size)
        of_truth = predictions[rows, labels]
        likeliest = predictions.argmax(axis=1)
        losses = log_losses(of_truth)
        # Column by column: the order of additions within a row is the same for any batch.
        squares = np.zeros(labels.size)
        for column in predictions.T:
            squares += column * column
        brier = squares - 2.0 * of_truth + 1.0
        self.bounded.add(np.stack((losses, losses * losses, brier, brier * brier)), sign)
        np.add.at(self.confusion, labels * self.classes + likeliest, sign)
        # Of equal probabilities the class that is listed first ranks first, as the likeliest one does.
        above = (predictions > of_truth[:, np.newaxis]).sum(axis=1)
        tied = (predictions == of_truth[:, np.newaxis]) & (np.arange(self.classes) < labels[:, np.newaxis])
        np.add.at(self.ranks, above + tied.sum(axis=1), sign)
        top = ranking.score_bins(_TOP_BINS).index(predictions[rows, likeliest])
        np.add.at(self.top, top + (likeliest == labels) * _TOP_BINS, sign)
        if self._class_bins:
            place = ranking.score_bins(self._class_bins).index(predictions.ravel()).reshape(predictions.shape)
            place += (2 * self._class_bins) * np.arange(self.classes)
            place[rows, labels] += self._class_bins
            self.class_scores += sign * np.bincount(place.ravel(), minlength=self.class_scores.size)

    def merge(self, other: MulticlassSums) -> None:
        self.bounded.merge(other.bounded)
        self.confusion += other.confusion
        self.ranks += other.ranks
        self.top += other.top
        self.class_scores += other.class_scores

    def copy(self) -> MulticlassSums:
        twin = MulticlassSums(self.classes)
        twin.bounded = self.bounded.copy()
        twin.confusion = self.confusion.copy()
        twin.ranks = self.ranks.copy()
        twin.top = self.top.copy()
        twin.class_scores = self.class_scores.copy()
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return min(int(counts.min()) for counts in (self.confusion, self.ranks, self.top)) >= 0

    def matrix(self) -> list[list[int]]:
        """The confusion matrix, row: truth, column: decision."""
        matrix: list[list[int]] = self.confusion.reshape(self.classes, self.classes).tolist()
        return matrix

    def metrics(self, confidence: float, names: Iterable[str]) -> dict[str, MetricValue]:
        """These multiclass metrics; needs at least one row. Raises ``ValueError`` for a name that is none."""
        view = _View(self, confidence)
        return {name: view.metric(name) for name in names}

    def class_table(self, index: int) -> ScoreTable:
        """The probabilities of one class: positives are the rows of that class."""
        bins = self._class_bins
        others, own = self.class_scores[2 * index * bins :][: 2 * bins].reshape(2, bins)
        return ScoreTable.binned(ranking.score_bins(bins).edges, own, others)

    def to_wire(self) -> dict[str, Any]:
        return {
            "bounded": self.bounded.to_wire(),
            "confusion": to_sparse(self.confusion),
            "ranks": to_sparse(self.ranks),
            "top": to_sparse(self.top),
            "class_scores": to_sparse(self.class_scores),
        }

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit.

        Sums from before there were ranks and histograms load without them: the metrics that need them are undefined.
        """
        bounded = wire["bounded"]
        self.bounded.load([*bounded, "0", "0"] if len(bounded) == 2 else bounded)
        self.confusion = load_sparse(wire["confusion"], self.classes * self.classes)
        self.ranks = load_sparse(wire.get("ranks", _EMPTY), self.ranks.size)
        self.top = load_sparse(wire.get("top", _EMPTY), self.top.size)
        self.class_scores = load_sparse(wire.get("class_scores", _EMPTY), self.class_scores.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MulticlassSums):
            return NotImplemented
        return self.bounded == other.bounded and all(
            np.array_equal(mine, theirs)
            for mine, theirs in (
                (self.confusion, other.confusion),
                (self.ranks, other.ranks),
                (self.top, other.top),
                (self.class_scores, other.class_scores),
            )
        )

    __hash__ = None  # type: ignore[assignment]


_EMPTY: Final[list[list[int]]] = [[], []]


class _View:
    """Multiclass sums with what several metrics share, made when first asked for."""

    def __init__(self, sums: MulticlassSums, confidence: float) -> None:
        self._sums = sums
        self._confidence = confidence
        self._rows = int(sums.confusion.sum())
        #: Sums of an older version, in part or whole, do not have all rows in their newer parts.
        self._whole = int(sums.ranks.sum()) == self._rows

    def metric(self, name: str) -> MetricValue:
        if name in CONFUSION_METRICS:
            return CONFUSION_METRICS[name](self._confusion, self._confidence)
        if name == "log_loss":
            return self._sums.bounded.mean_metric(_LOSS, self._rows, self._confidence, None)
        if not self._whole:
            return MetricValue(None, None, None, self._rows)
        if name == "brier":
            return self._sums.bounded.mean_metric(_BRIER, self._rows, self._confidence, 2.0)
        if name == "ece":
            edges = ranking.score_bins(_TOP_BINS).edges
            table = ScoreTable.binned(edges, self._sums.top[_TOP_BINS:], self._sums.top[:_TOP_BINS])
            return calibration_error(calibration_groups(table), self._confidence)
        if name in ("macro_roc_auc", "weighted_roc_auc"):
            return self._mean_auc(weighted=name == "weighted_roc_auc")
        parameter = metric_parameter("multiclass", name)
        if parameter is None:
            raise ValueError(f"a multiclass task has no metric {name!r}")
        hits = int(self._sums.ranks[: int(parameter[1])].sum())
        return proportion(hits, self._rows, self._rows, self._confidence)

    @cached_property
    def _confusion(self) -> Confusion:
        return Confusion(self._sums.confusion.reshape(self._sums.classes, self._sums.classes))

    @cached_property
    def _areas(self) -> list[tuple[int, MetricValue]]:
        """One class against the rest: rows of the class, and its area, for the classes that some but not all rows are
        of."""
        found = []
        for index in range(self._sums.classes if self._sums.class_scores.size else 0):
            table = self._sums.class_table(index)
            value = ranking.roc_auc(table.positives, table.negatives)
            if value is not None:
                low, high = ranking.auc_interval(table.positives, table.negatives, self._confidence)
                bound = ranking.auc_error_bound(table.positives, table.negatives)
                found.append((int(table.positives.sum()), MetricValue(value, low, high, table.rows, bound)))
        return found

    def _mean_auc(self, *, weighted: bool) -> MetricValue:
        """Mean of the classes' areas. The limits are the means of their limits: right if they all err together, wider
        than need be otherwise."""
        areas = self._areas
        total = sum(rows if weighted else 1 for rows, _ in areas)
        if not total:
            return MetricValue(None, None, None, self._rows)

        def mean(of: list[float | None]) -> float | None:
            terms = [
                (rows if weighted else 1) * number
                for (rows, _), number in zip(areas, of, strict=True)
                if number is not None
            ]
            return math.fsum(terms) / total if len(terms) == len(areas) else None

        return MetricValue(
            mean([area.value for _, area in areas]),
            mean([area.low for _, area in areas]),
            mean([area.high for _, area in areas]),
            self._rows,
            mean([area.error_bound for _, area in areas]),
        )
