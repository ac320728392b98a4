"""Direct loss estimation for a regression: sums of the losses that a second model expects of each row.

Reference: NannyML documentation, "Direct Loss Estimation" (a regressor from features and prediction to the loss).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.estimated.cells import around, fitted_noise, own_noise, root, weighted_metrics
from driftloop.performance.exact_rows import add_rows
from driftloop.performance.metrics import MetricValue
from driftloop.performance.sparse import load_sparse, to_sparse
from driftloop.profiles.estimators import EstimatorTables
from driftloop.profiles.exact import ExactSum

__all__ = ["LOSSES", "RegressionEstimates"]

#: The losses that are estimated: means of the absolute and of the squared error.
LOSSES: Final = ("mae", "mse")


class RegressionEstimates:
    """Mergeable sums of expected losses; a row is (cell, expected loss of each of :data:`LOSSES`), or the cell alone
    where no loss model was fitted."""

    __slots__ = ("cells", "rows", "sums", "tables")

    def __init__(self, tables: EstimatorTables) -> None:
        self.tables = tables
        self.rows = 0
        self.cells = np.zeros(len(tables.cells.rows), np.int64)
        self.sums = tuple(ExactSum() for _ in LOSSES) if tables.trees is not None else ()

    def update(self, rows: NDArray[np.float64]) -> None:
        """Add rows, shape (n, 1 or 3)."""
        if not len(rows):
            return
        self.rows += len(rows)
        self.cells += np.bincount(rows[:, 0].astype(np.int64), minlength=self.cells.size)
        if self.sums:
            add_rows(self.sums, np.array(rows[:, 1:].T, order="C"), 1)

    def merge(self, other: RegressionEstimates) -> None:
        self.rows += other.rows
        self.cells += other.cells
        for mine, theirs in zip(self.sums, other.sums, strict=True):
            mine.merge(theirs)

    def copy(self) -> RegressionEstimates:
        twin = RegressionEstimates(self.tables)
        twin.merge(self)
        return twin

    def to_wire(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "cells": to_sparse(self.cells),
            "sums": [list(total.to_wire()) for total in self.sums],
        }

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the sums by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        self.rows = int(wire["rows"])
        self.cells = load_sparse(wire["cells"], self.cells.size)
        sums = tuple(ExactSum.from_wire(tuple(total)) for total in wire["sums"])
        if len(sums) != len(self.sums):
            raise ValueError(f"expected {len(self.sums)} sums of estimated losses, got {len(sums)}")
        self.sums = sums

    def weighted(self, confidence: float) -> dict[str, MetricValue]:
        """By the reference's losses in the cells of the prediction."""
        return weighted_metrics(self.tables.cells, self.cells.tolist(), "regression", confidence)

    def metrics(self, confidence: float) -> dict[str, MetricValue]:
        """Expected MAE, MSE and RMSE; nothing where no loss model was fitted.

        The interval has the variance of the losses in the reference, cell by cell of the prediction: the chance in
        the window's rows and in the reference's, not an error of the loss model itself.
        """
        rows = self.rows
        if not rows or not self.sums:
            return {}
        cells, counts = self.tables.cells, self.cells.tolist()
        found: dict[str, MetricValue] = {}
        for name, total in zip(LOSSES, self.sums, strict=True):
            noise = own_noise(cells, counts, name) + fitted_noise(cells, counts, name)
            found[name] = around(total.mean(rows), noise, confidence, None, rows)
        found["rmse"] = root(found["mse"])
        return found

    def __eq__(self, other: object) -> bool:
        return self.to_wire() == other.to_wire() if isinstance(other, RegressionEstimates) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
