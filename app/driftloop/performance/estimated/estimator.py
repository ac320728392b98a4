"""Applying a version's estimator tables to its predictions, row by row, and summing up by window."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftloop.performance.estimated.binary import BinaryEstimates, binary_rows
from driftloop.performance.estimated.loss_trees import expected_losses
from driftloop.performance.estimated.multiclass import MulticlassEstimates, multiclass_rows
from driftloop.performance.estimated.regression import RegressionEstimates
from driftloop.profiles.columns import PREDICTION, Columns
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.model import ModelSpec

__all__ = ["EstimateSums", "Estimator", "estimator_of"]

EstimateSums = BinaryEstimates | MulticlassEstimates | RegressionEstimates

#: What the primary estimator of each task is called in sentences.
METHOD_NAMES: Final = {
    "binary": "calibrated scores",
    "multiclass": "calibrated scores",
    "regression": "a model of the loss",
}


class Estimator:
    """The tables of one model version with the spec's decision threshold."""

    def __init__(self, spec: ModelSpec, profile: ReferenceProfile) -> None:
        tables = profile.estimators
        assert tables is not None, "estimator_of knows that there are tables"
        if spec.task == "regression" and not spec.performance.estimate:
            # Evaluating the loss model costs about as much as all other statistics together: it is asked for.
            tables = msgspec.structs.replace(tables, trees=None)
        self.tables = tables
        self._task = spec.task
        self._threshold = spec.performance.decision_threshold
        self._classes = len(spec.classes)

    @property
    def settings(self) -> list[Any]:
        """Sums merge only if these are equal."""
        return [self._task, self._threshold, self.tables.trees is not None]

    def rows(self, columns: Columns, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each row adds to the sums, shape (n, terms). ``outputs``: (n,) or, for multiclass, (n, classes)."""
        if self._task == "binary":
            return binary_rows(self.tables, outputs, self._threshold)
        if self._task == "multiclass":
            return multiclass_rows(self.tables, outputs)
        cells = self.tables.cells.index(outputs).astype(np.float64)[:, None]
        if self.tables.trees is None:
            return cells
        return np.hstack([cells, expected_losses(self.tables.trees, {**columns, PREDICTION: outputs})])

    def new_sums(self) -> EstimateSums:
        """Empty sums."""
        if self._task == "binary":
            return BinaryEstimates(self.tables, self._threshold)
        if self._task == "multiclass":
            return MulticlassEstimates(self.tables, self._classes)
        return RegressionEstimates(self.tables)


def estimator_of(spec: ModelSpec, profile: ReferenceProfile) -> Estimator | None:
    """The version's estimator; None if the spec does not want one or the profile has no tables."""
    if spec.performance.estimate is False or profile.estimators is None:
        return None
    return Estimator(spec, profile)
