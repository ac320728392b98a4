"""Scores of rows that turned out positive or negative, from the lowest on, by a histogram or as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ScoreTable"]


@dataclass(frozen=True)
class ScoreTable:
    """m groups of rows whose scores rise from one group to the next; no group is empty.

    ``low`` and ``high`` (m,): what the scores of a group can be; the same number where they are known. ``positives``
    and ``negatives`` (m,) int64: how many rows of each kind.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    exact: bool

    @classmethod
    def binned(
        cls, edges: NDArray[np.float64], positives: NDArray[np.int64], negatives: NDArray[np.int64]
    ) -> ScoreTable:
        """From counts per bin, shape (bins,), and the edges of the bins, shape (bins + 1,)."""
        used = np.flatnonzero(positives + negatives)
        return cls(edges[used], edges[used + 1], positives[used], negatives[used], exact=False)

    @property
    def rows(self) -> int:
        return int(self.positives.sum() + self.negatives.sum())
