"""Reference and window of one feature side by side, and what several methods need of both, computed once.

A method is a function of a pair to an :class:`Outcome`. Pairs are made only for features with values on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from driftloop.drift.distances import category_counts, decile_counts, ks_statistic, wasserstein
from driftloop.drift.significance import (
    ChiSquare,
    PooledTable,
    chi_square_of_table,
    ks_p_value,
    pool_rare_categories,
)
from driftloop.profiles.anchors import NumericReference
from driftloop.profiles.categorical import CategoricalReference, CategoricalSummary
from driftloop.profiles.numeric import NumericSummary

__all__ = ["CONFIDENCE", "CategoricalPair", "NumericPair", "Outcome"]

#: Of all intervals.
CONFIDENCE = 0.95

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """What a method found: as in ``MethodResult``. ``p_value`` is None for distances; a test that cannot be applied has
    neither statistic nor p-value."""

    statistic: float | None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    change: float | None = None


class NumericPair:
    """A numeric feature. Arrays have the shape (2k + 1,) of :class:`NumericReference`: even positions are the open
    intervals between (and outside) anchors, odd ones the anchors."""

    def __init__(self, reference: NumericReference, window: NumericSummary) -> None:
        self.reference = reference
        self.window = window
        self.reference_rows = reference.rows
        self.rows = window.rows

    @property
    def reference_counts(self) -> Counts:
        return self.reference.count_array

    @property
    def counts(self) -> Counts:
        return self.window.counts

    @cached_property
    def reference_before(self) -> Counts:
        """Reference rows at earlier positions."""
        return np.cumsum(self.reference_counts) - self.reference_counts

    @cached_property
    def before(self) -> Counts:
        """The window's rows at earlier positions."""
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def ks(self) -> float:
        statistic = ks_statistic(self.reference, self.window)
        assert statistic is not None
        return statistic

    @cached_property
    def companion_p_value(self) -> float:
        """Of the two-sample KS test."""
        return ks_p_value(self.ks, self.reference_rows, self.rows)

    @cached_property
    def bins(self) -> tuple[Counts, Counts]:
        """Counts of both by deciles of the reference."""
        return decile_counts(self.reference, self.window)

    @cached_property
    def wasserstein(self) -> float:
        """In the feature's own unit."""
        distance = wasserstein(self.reference, self.window)
        assert distance is not None
        return distance

    @property
    def share_off_constant(self) -> float:
        """For a constant reference, which has no deviation to measure in: the share of the window that differs."""
        return 1.0 - int(self.counts[1]) / self.rows


class CategoricalPair:
    """A categorical feature. ``bins`` are the counts of both by category, the last one for all that the reference does
    not keep."""

    def __init__(self, reference: CategoricalReference, window: CategoricalSummary) -> None:
        self.reference = reference
        self.window = window
        self.bins: tuple[Counts, Counts] = category_counts(reference, window)
        self.reference_rows = int(self.bins[0].sum())
        self.rows = int(self.bins[1].sum())

    @cached_property
    def pooled(self) -> PooledTable:
        """The 2 x k table with rare categories and those that the reference does not keep pooled."""
        return pool_rare_categories(*self.bins, pool_last=True)

    @cached_property
    def chi_square(self) -> ChiSquare:
        return chi_square_of_table(self.pooled)

    @property
    def companion_p_value(self) -> float:
        """Of the two-sample chi-square test."""
        return self.chi_square.p_value
