"""Scores and labels as they are, as long as they are few: the end of what a histogram cannot tell."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.score_table import ScoreTable

__all__ = ["ExactScores"]

_NOTHING: Final = np.zeros(0)


class ExactScores:
    """The multiset of (score, label) while at most ``limit`` rows were added or taken out, nothing beyond that.

    What counts is how many rows ever went in or out, also those of a correction: that number adds up the same way in
    any order of merges, so whether the rows are still here does not depend on it. Memory: at most ``limit`` rows.
    """

    __slots__ = ("_labels", "_scores", "_signs", "limit", "touched")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Rows that went in or out, counted up to ``limit + 1``.
        self.touched = 0
        self._clear()

    def _clear(self) -> None:
        self._scores: list[NDArray[np.float64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._signs: list[int] = []

    @property
    def complete(self) -> bool:
        """Whether the rows are here."""
        return self.touched <= self.limit

    def add(self, scores: NDArray[np.float64], labels: NDArray[np.int64], sign: int) -> None:
        """Add (``sign`` 1) or take out again (-1) rows, shapes (n,)."""
        if self._touch(scores.size):
            self._scores.append(scores + 0.0)  # a copy, and -0.0 becomes 0.0
            self._labels.append(labels.copy())
            self._signs.append(sign)

    def _touch(self, rows: int) -> bool:
        self.touched = min(self.limit + 1, self.touched + rows)
        if not self.complete:
            self._clear()
        return self.complete

    def merge(self, other: ExactScores) -> None:
        if self._touch(other.touched):
            self._scores += other._scores
            self._labels += other._labels
            self._signs += other._signs

    def copy(self) -> ExactScores:
        twin = ExactScores(self.limit)
        twin.touched = self.touched
        twin._scores, twin._labels, twin._signs = self._scores.copy(), self._labels.copy(), self._signs.copy()
        return twin

    def _net(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Distinct scores, rising, and the positives and negatives of each; those that cancel are left out."""
        scores = np.concatenate([*self._scores, _NOTHING])
        labels = np.concatenate([*self._labels, np.zeros(0, np.int64)])
        signs = np.repeat(np.asarray(self._signs, np.int64), [part.size for part in self._scores])
        distinct, place = np.unique(scores, return_inverse=True)
        counts = np.zeros((2, distinct.size), np.int64)
        np.add.at(counts, (labels, place), signs)
        used = counts.any(axis=0)
        return distinct[used], counts[1][used], counts[0][used]

    def table(self) -> ScoreTable | None:
        """The rows by score; None if they are not here."""
        if not self.complete:
            return None
        scores, positives, negatives = self._net()
        return ScoreTable(scores, scores, positives, negatives, exact=True)

    def to_wire(self) -> list[object]:
        if not self.complete:
            return [self.touched]
        return [self.touched, *(part.tolist() for part in self._net())]

    def load(self, wire: object) -> None:
        """Replace the rows by those of :meth:`to_wire`. Raises ``ValueError`` if it does not fit."""
        if not isinstance(wire, list) or len(wire) not in (1, 4):
            raise ValueError(f"expected exact scores, got {str(wire)[:80]}")
        self._clear()
        self.touched = int(wire[0])
        if len(wire) == 1:
            if self.complete:
                raise ValueError("the exact scores are missing")
            return
        scores = np.asarray(wire[1], np.float64)
        for label, counts in ((1, np.asarray(wire[2], np.int64)), (0, np.asarray(wire[3], np.int64))):
            if counts.shape != scores.shape or np.abs(counts).sum() > self.limit:
                raise ValueError("the exact scores do not fit their counts")
            for sign in (1, -1):
                rows = np.repeat(scores, np.maximum(sign * counts, 0))
                if rows.size:
                    self._scores.append(rows)
                    self._labels.append(np.full(rows.size, label, np.int64))
                    self._signs.append(sign)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactScores):
            return NotImplemented
        return self.limit == other.limit and self.to_wire() == other.to_wire()

    __hash__ = None  # type: ignore[assignment]
