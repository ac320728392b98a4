"""CBPE for a binary task: expected metrics of a window when every score is turned into a probability of the truth.

With c the calibrated probability of a score s, a positive decision is right with probability c and a negative one with
1 - c, so expected counts are sums of c and 1 - c.

Reference: J. Białek, W. Kuberski, N. Perrakis, A. Bifet, "Estimating model performance under covariate shift without
labels" (probabilistic adaptive performance estimation and CBPE), arXiv 2401.08348, 2024; NannyML documentation.
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
from driftloop.performance.ranking import score_bins
from driftloop.performance.sparse import load_sparse, to_sparse
from driftloop.profiles.estimators import EstimatorTables

__all__ = ["ESTIMATE_BINS", "BinaryEstimates", "binary_rows"]

#: Bins of the score for the ROC AUC.
ESTIMATE_BINS: Final = 512
#: Probabilities per bin are added as integers of this unit: 2**31 rows of one bin fit.
_UNIT: Final = 2.0**32

_CELL, _BIN, _DECISION, _UNITS, _FIRST = range(5)
# Sums: probability over positive and over negative decisions, its variance c (1 - c) over both, then mean and variance
# of Brier score and log loss.
_POSITIVE, _NEGATIVE, _POSITIVE_VARIANCE, _NEGATIVE_VARIANCE, _BRIER, _BRIER_VARIANCE, _LOSS, _LOSS_VARIANCE = range(8)


def binary_rows(tables: EstimatorTables, scores: NDArray[np.float64], decision_threshold: float) -> NDArray[np.float64]:
    """What each row adds to :class:`BinaryEstimates`, shape (n, 12); ``scores`` (n,) in [0, 1]."""
    known = tables.calibration[0] if tables.calibration else None
    chance = scores if known is None else known.apply(scores)
    rows = np.empty((_FIRST + 8, scores.size)).T  # so that each column is written in one piece
    positive = scores >= decision_threshold
    rows[:, _CELL] = tables.cells.index(scores)
    rows[:, _BIN] = score_bins(ESTIMATE_BINS).index(scores)
    rows[:, _DECISION] = positive
    rows[:, _UNITS] = np.rint(chance * _UNIT)
    terms = rows[:, _FIRST:]
    spread = chance * (1.0 - chance)
    terms[:, _POSITIVE] = np.where(positive, chance, 0.0)
    terms[:, _NEGATIVE] = np.where(positive, 0.0, chance)
    terms[:, _POSITIVE_VARIANCE] = np.where(positive, spread, 0.0)
    terms[:, _NEGATIVE_VARIANCE] = np.where(positive, 0.0, spread)
    slope = 1.0 - 2.0 * scores
    terms[:, _BRIER] = scores * scores + slope * chance
    terms[:, _BRIER_VARIANCE] = slope * slope * spread
    clipped = np.clip(scores, LOG_LOSS_CLIP, 1.0 - LOG_LOSS_CLIP)
    if_true, if_false = -natural_log(clipped), -natural_log(1.0 - clipped)
    slope = if_true - if_false
    terms[:, _LOSS] = chance * if_true + (1.0 - chance) * if_false
    terms[:, _LOSS_VARIANCE] = slope * slope * spread
    return rows


class BinaryEstimates:
    """Mergeable sums of a window's expected outcomes: the same bits in any order and any split of the rows."""

    __slots__ = ("bounded", "cells", "counts", "decisions", "rows", "tables", "threshold", "units")

    def __init__(self, tables: EstimatorTables, decision_threshold: float) -> None:
        self.tables = tables
        self.threshold = decision_threshold
        self.rows = 0
        self.decisions = 0  # positive ones
        self.cells = np.zeros(len(tables.cells.rows), np.int64)
        self.counts = np.zeros(ESTIMATE_BINS, np.int64)
        self.units = np.zeros(ESTIMATE_BINS, np.int64)
        self.bounded = BoundedSums(8)

    def update(self, rows: NDArray[np.float64]) -> None:
        """Add rows of :func:`binary_rows`."""
        if not len(rows):
            return
        self.rows += len(rows)
        self.decisions += int(rows[:, _DECISION].sum())
        bins = rows[:, _BIN].astype(np.int64)
        self.cells += np.bincount(rows[:, _CELL].astype(np.int64), minlength=self.cells.size)
        self.counts += np.bincount(bins, minlength=ESTIMATE_BINS)
        np.add.at(self.units, bins, rows[:, _UNITS].astype(np.int64))
        self.bounded.add(np.array(rows[:, _FIRST:].T, order="C"), 1)

    def merge(self, other: BinaryEstimates) -> None:
        self.rows += other.rows
        self.decisions += other.decisions
        self.cells += other.cells
        self.counts += other.counts
        self.units += other.units
        self.bounded.merge(other.bounded)

    def copy(self) -> BinaryEstimates:
        twin = BinaryEstimates(self.tables, self.threshold)
        twin.merge(self)
        return twin

    def to_wire(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "decisions": self.decisions,
            "cells": to_sparse(self.cells),
            "counts": to_sparse(self.counts),
            "units": to_sparse(self.units),
            "bounded": self.bounded.to_wire(),
        }

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.rows, self.decisions = int(wire["rows"]), int(wire["decisions"])
        self.cells = load_sparse(wire["cells"], self.cells.size)
        self.counts = load_sparse(wire["counts"], ESTIMATE_BINS)
        self.units = load_sparse(wire["units"], ESTIMATE_BINS)
        self.bounded.load(wire["bounded"])

    def weighted(self, confidence: float) -> dict[str, MetricValue]:
        """By the reference's losses in the cells of the score instead of by calibrated probabilities."""
        return weighted_metrics(self.tables.cells, self.cells.tolist(), "binary", confidence)

    def metrics(self, confidence: float) -> dict[str, MetricValue]:
        """Expected metrics. The interval is for the value that these very rows will realise: it covers the chance in
        their labels and in the reference rows that the calibration rests on, not a changed relation of score and truth.
        """
        rows = self.rows
        if not rows:
            return {}
        sums = [self.bounded.mean(index, 1) for index in range(8)]
        hits, missed = sums[_POSITIVE], sums[_NEGATIVE]
        v_positive, v_negative = sums[_POSITIVE_VARIANCE], sums[_NEGATIVE_VARIANCE]
        decisions, truths = self.decisions, hits + missed
        right = hits + (rows - decisions) - missed

        def scored(loss: str, mean: int, variance: int, most: float | None) -> MetricValue:
            fitted = fitted_noise(self.tables.cells, self.cells.tolist(), loss)
            return around(sums[mean] * n, sums[variance] * n * n + fitted, confidence, most, rows)

        def found(value: float | None, own: float, up: float, down: float) -> MetricValue:
            """``up``, ``down``: by how much one true outcome more moves the metric, by its decision."""
            if value is None:
                return MetricValue(None, None, None, rows)
            return around(value, own + self._fitted_noise(up, down), confidence, 1.0, rows)

        n = 1.0 / rows
        precision = hits / decisions if decisions else None
        recall = hits / truths if truths else None
        whole = decisions + truths
        f1 = 2.0 * hits / whole if whole else None
        r, f = recall or 0.0, f1 or 0.0
        recall_up, recall_down = ((1.0 - r) / truths, -r / truths) if truths else (0.0, 0.0)
        f1_up, f1_down = ((2.0 - f) / whole, -f / whole) if whole else (0.0, 0.0)
        per_decision = 1.0 / decisions if decisions else 0.0
        return {
            "roc_auc": self._roc_auc(confidence),
            "log_loss": scored("log_loss", _LOSS, _LOSS_VARIANCE, None),
            "accuracy": found(right * n, (v_positive + v_negative) * n * n, n, -n),
            "brier": scored("brier", _BRIER, _BRIER_VARIANCE, 1.0),
            "precision": found(precision, v_positive * per_decision**2, per_decision, 0.0),
            "recall": found(recall, recall_up**2 * v_positive + recall_down**2 * v_negative, recall_up, recall_down),
            "f1": found(f1, f1_up**2 * v_positive + f1_down**2 * v_negative, f1_up, f1_down),
            "base_rate": found(truths * n, (v_positive + v_negative) * n * n, n, n),
        }

    def _cell_rates(self) -> list[tuple[int, int, float]]:
        """Of each cell the window's rows, the reference's rows, and the variance of one outcome in the reference."""
        cells = self.tables.cells
        found = []
        for count, rows, hit, miss in zip(
            self.cells.tolist(), cells.rows, cells.means["true_positive"], cells.means["false_negative"], strict=True
        ):
            rate = (rows * (hit + miss) + 1.0) / (rows + 2.0)
            found.append((count, rows, rate * (1.0 - rate)))
        return found

    def _fitted_noise(self, up: float, down: float) -> float:
        """Variance that comes with the reference: each cell's rate of true outcomes is known from its rows alone."""
        noise = 0.0
        for (count, rows, spread), slope in zip(self._cell_rates(), self._decided(up, down), strict=True):
            noise += (count * slope) ** 2 * spread / max(1, rows)
        return noise

    def _decided(self, up: float, down: float) -> list[float]:
        """``up`` for cells that are decided positive, ``down`` for the others, the mix where a cell has both."""
        means = self.tables.cells.means
        positive = [hit + alarm for hit, alarm in zip(means["true_positive"], means["false_positive"], strict=True)]
        return [share * up + (1.0 - share) * down for share in positive]

    def _roc_auc(self, confidence: float) -> MetricValue:
        used = np.flatnonzero(self.counts)
        counts = self.counts[used].astype(np.float64)
        true = self.units[used] / _UNIT
        false = counts - true
        positives, negatives = math.fsum(true.tolist()), math.fsum(false.tolist())
        if positives <= 0.0 or negatives <= 0.0:
            return MetricValue(None, None, None, self.rows)
        below = np.cumsum(false) - 0.5 * false  # expected negatives that a positive here outranks
        above = positives - np.cumsum(true) + 0.5 * true
        auc = math.fsum((true * below).tolist()) / (positives * negatives)
        # One true outcome more here, one false less: by how much the area moves.
        slope = (below - above) / (positives * negatives) - auc / positives + auc / negatives
        own = math.fsum((slope * slope * true * false / counts).tolist())
        edges = score_bins(ESTIMATE_BINS).lower_edges()[used]
        cells = self.tables.cells.index(edges)
        moved = np.bincount(cells, weights=slope * counts, minlength=self.cells.size)
        fitted = math.fsum(
            m * m * spread / max(1, rows)
            for m, (_, rows, spread) in zip(moved.tolist(), self._cell_rates(), strict=True)
        )
        return around(min(1.0, auc), own + fitted, confidence, 1.0, self.rows)

    def auc_error_bound(self) -> float | None:
        """The most by which binning can have lowered the expected ROC AUC from that of the scores themselves.

        Two rows of one bin count as a tie; with their order they would add half the difference of their calibrated
        probabilities, so a bin with n rows adds at most n² / 8 times the difference at its ends. 0 where the map is
        flat.
        """
        used = np.flatnonzero(self.counts)
        counts = self.counts[used].astype(np.float64)
        positives = float((self.units[used] / _UNIT).sum())
        negatives = float(counts.sum()) - positives
        if positives <= 0.0 or negatives <= 0.0:
            return None
        edges = np.append(score_bins(ESTIMATE_BINS).lower_edges(), 1.0)
        known = self.tables.calibration[0] if self.tables.calibration else None
        chances = edges if known is None else known.apply(edges)
        return float((counts * counts * np.diff(chances)[used]).sum() / 8.0 / (positives * negatives))

    def __eq__(self, other: object) -> bool:
        return self.to_wire() == other.to_wire() if isinstance(other, BinaryEstimates) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
