"""ROC AUC of binned scores: the bins, the estimate, how far binning can move it, and its interval."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.intervals import wilson_interval

__all__ = ["ScoreBins", "auc_error_bound", "auc_interval", "roc_auc", "score_bins"]

_OCTAVES: Final = 16
#: With fewer rows of either class the interval is not worth the name.
MINIMUM_CLASS_ROWS: Final = 5


class ScoreBins:
    """Bins of [0, 1] for scores: half of them equally wide, the two outermost of those split again by powers of two.

    A model of rare events has nearly all scores close to 0; equal bins alone would call them all ties. With 2,048 bins
    there are 1,024 cells of 1/1,024; the first and the last one have 32 bins to each halving, down to 1.5e-8.
    """

    __slots__ = ("_cells", "_tail", "_tail_edges", "edges", "size")

    def __init__(self, size: int) -> None:
        if size < 64 or size & (size - 1):
            raise ValueError(f"score_bins must be a power of two of at least 64, got {size}")
        self.size = size
        self._cells = size // 2
        per_octave = size // (4 * _OCTAVES)
        self._tail = per_octave * _OCTAVES
        steps = 1.0 + np.arange(per_octave) / per_octave
        octaves = 2.0 ** -np.arange(_OCTAVES, 0, -1.0) / self._cells
        self._tail_edges = np.multiply.outer(octaves, steps).ravel()
        inner = np.arange(1, self._cells) / self._cells
        #: Lower edges of the bins and the upper one of the last, shape (size + 1,).
        self.edges = np.concatenate([[0.0], self._tail_edges, inner, 1.0 - self._tail_edges[::-1], [1.0]])

    def index(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bin of each score in [0, 1], shape (n,); a higher score never has a lower bin."""
        cells = self._cells
        cell = (scores * cells).astype(np.int64)
        bins = cell + self._tail
        first = cell == 0
        if first.any():
            bins[first] = np.searchsorted(self._tail_edges, scores[first], side="right")
        last = cell >= cells - 1
        if last.any():
            # 1 - score is exact here, so the upper end mirrors the lower one.
            bins[last] = self.size - 1 - np.searchsorted(self._tail_edges, 1.0 - scores[last], side="right")
        return bins


@lru_cache(maxsize=8)
def score_bins(size: int) -> ScoreBins:
    """The bins of this size (they never change). Raises ``ValueError`` unless a power of two of at least 64."""
    return ScoreBins(size)


def _pairs(
    positives: NDArray[np.int64], negatives: NDArray[np.int64]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Bins in use: positives, negatives, twice the wins of one positive there, twice the wins of one negative there."""
    used = np.flatnonzero(positives + negatives)
    p, n = positives[used], negatives[used]
    positive_wins = 2 * (n.cumsum() - n) + n
    negative_wins = 2 * (int(p.sum()) - p.cumsum()) + p
    return p.tolist(), n.tolist(), positive_wins.tolist(), negative_wins.tolist()


def roc_auc(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve from counts per bin, both shape (bins,); two scores in one bin count as a tie (1/2).

    None unless there are both positives and negatives.
    """
    p, n, wins, _ = _pairs(positives, negatives)
    pairs = sum(p) * sum(n)
    if not pairs:
        return None
    return sum(count * win for count, win in zip(p, wins, strict=True)) / (2 * pairs)


def auc_error_bound(positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> float | None:
    """The most by which ties made by binning can have moved :func:`roc_auc` from that of the scores themselves."""
    p, n, _, _ = _pairs(positives, negatives)
    pairs = sum(p) * sum(n)
    if not pairs:
        return None
    return sum(a * b for a, b in zip(p, n, strict=True)) / (2 * pairs)


def auc_interval(
    positives: NDArray[np.int64], negatives: NDArray[np.int64], confidence: float
) -> tuple[float | None, float | None]:
    """Interval of :func:`roc_auc`: DeLong's variance turned into an effective number of rows for Wilson's interval.

    That keeps it within [0, 1] and gives it a width at an area of 0 or 1, where the variance vanishes: there the
    smaller class is the effective number. (None, None) with fewer than 5 rows of either class.

    Reference: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the areas under two or more correlated
    receiver operating characteristic curves", Biometrics 44, 1988.
    """
    p, n, positive_wins, negative_wins = _pairs(positives, negatives)
    positive_rows, negative_rows = sum(p), sum(n)
    if min(positive_rows, negative_rows) < MINIMUM_CLASS_ROWS:
        return None, None
    wins = sum(count * win for count, win in zip(p, positive_wins, strict=True))
    auc = wins / (2 * positive_rows * negative_rows)
    variance = _spread(p, positive_wins, positive_rows, negative_rows) + _spread(
        n, negative_wins, negative_rows, positive_rows
    )
    if 0.0 < auc < 1.0:
        if variance == 0.0:  # every score in one bin: the area is 1/2 whatever the labels
            return auc, auc
        return wilson_interval(auc, auc * (1.0 - auc) / variance, confidence)
    return wilson_interval(auc, min(positive_rows, negative_rows), confidence)


def _spread(counts: list[int], wins: list[int], rows: int, others: int) -> float:
    """Sample variance of the placement values of one class over its rows: its share of DeLong's variance."""
    first = sum(count * win for count, win in zip(counts, wins, strict=True))
    second = sum(count * win * win for count, win in zip(counts, wins, strict=True))
    return (rows * second - first * first) / (4 * others * others * rows * rows * (rows - 1))
