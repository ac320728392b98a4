"""Tables by which a window's performance is estimated before its labels come: numbers in a reference profile.

They are fitted where predictions and labels of the reference are at hand (``performance/estimated/fit.py``) and applied
to every prediction by the monitor (``performance/estimated/estimator.py``). Each is bounded.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

__all__ = [
    "MAX_KNOTS",
    "CalibrationMap",
    "EstimatorTables",
    "FeatureCodes",
    "LossCells",
    "LossTrees",
    "ObliviousTree",
]

#: A calibration map has at most so many knots.
MAX_KNOTS = 512


class CalibrationMap(Struct, frozen=True, kw_only=True, dict=True):
    """A rising piecewise linear function from a model's score to the probability that the outcome is true.

    ``scores`` (k,) are sorted and distinct, ``probabilities`` (k,) do not fall; beyond the ends the map is constant.
    ``max_error`` is how far it is, at most, from the isotonic regression that it stands for (0: it has all its knots).
    """

    scores: list[float]
    probabilities: list[float]
    max_error: float = 0.0

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        scores = np.array(self.scores, np.float64)
        probabilities = np.array(self.probabilities, np.float64)
        slopes = np.zeros(scores.size)
        slopes[:-1] = np.diff(probabilities) / np.diff(scores)
        return scores, probabilities, slopes

    def apply(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of scores of any shape. Single operations alone, so the same bits on every machine."""
        knots, probabilities, slopes = self._table
        at = np.clip(knots.searchsorted(scores, side="right") - 1, 0, knots.size - 1)
        clipped = np.clip(scores, knots[0], knots[-1])
        found: NDArray[np.float64] = clipped - knots[at]
        found *= slopes[at]
        found += probabilities[at]
        return np.clip(found, 0.0, 1.0, out=found)


class LossCells(Struct, frozen=True, kw_only=True, dict=True):
    """What the reference lost, by cell of the score.

    ``edges`` has, for each group (multiclass: predicted class; otherwise one), the sorted inner edges of its cells; a
    score on an edge belongs to the cell above. Cells are numbered group by group. ``rows`` are the reference's rows in
    each, ``means`` and ``variances`` (divisor n) those of each loss there.
    """

    edges: list[list[float]]
    rows: list[int]
    means: dict[str, list[float]]
    variances: dict[str, list[float]]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first cell of each group, and of all cells at the end."""
        return np.cumsum([0, *(len(edges) + 1 for edges in self.edges)])

    def index(self, scores: NDArray[np.float64], groups: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Cell of each score, shape (n,)."""
        if groups is None:
            return np.asarray(self._edge_arrays[0].searchsorted(scores, side="right"), np.int64)
        cells = self.starts[groups]
        for group, edges in enumerate(self._edge_arrays):
            of_group = groups == group
            if edges.size and of_group.any():
                cells[of_group] += edges.searchsorted(scores[of_group], side="right")
        return np.asarray(cells, np.int64)

    @cached_property
    def _edge_arrays(self) -> list[NDArray[np.float64]]:
        return [np.array(edges, np.float64) for edges in self.edges]


class FeatureCodes(Struct, frozen=True, kw_only=True, dict=True):
    """A column as small integers: 0 for missing, otherwise one more than the interval between ``edges`` (numeric), or
    what ``categories`` says (categorical; ``other`` for those it has not)."""

    name: str
    edges: list[float] = field(default_factory=list)
    categories: dict[str, int] | None = None
    other: int = 0


class ObliviousTree(Struct, frozen=True, array_like=True):
    """A tree with one question per level: bit j of the leaf is whether the code of ``features[j]`` exceeds
    ``thresholds[j]``. ``leaves`` has one list of 2**depth values for each output."""

    features: list[int]
    thresholds: list[int]
    leaves: list[list[float]]


class LossTrees(Struct, frozen=True, kw_only=True, dict=True):
    """A boosted ensemble that predicts a row's losses from its features and prediction: ``base`` plus a leaf of each
    tree, one number for each output, kept within ``low`` and ``high``."""

    codes: list[FeatureCodes]
    outputs: list[str]
    base: list[float]
    low: list[float]
    high: list[float]
    trees: list[ObliviousTree]


class EstimatorTables(Struct, frozen=True, kw_only=True, dict=True):
    """Everything that estimates a model version's performance from its predictions.

    ``calibration`` has one map for binary, one for each class for multiclass, None where the scores are better as they
    are. ``rows`` are the reference rows that the tables were fitted on.
    """

    rows: int
    cells: LossCells
    calibration: list[CalibrationMap | None] = field(default_factory=list)
    trees: LossTrees | None = None

    def check(self) -> None:
        """Raise ``ValueError`` if the parts do not fit together (after decoding)."""
        cells = int(self.cells.starts[-1])
        lengths = {len(self.cells.rows)}
        for table in (self.cells.means, self.cells.variances):
            lengths |= {len(column) for column in table.values()}
        if lengths != {cells}:
            raise ValueError(f"the loss cells of the reference profile are damaged: {cells} cells expected")
        for edges in self.cells.edges:
            _rising(edges, "loss cells")
        for known in self.calibration:
            if known is not None:
                if not known.scores or len(known.scores) != len(known.probabilities):
                    raise ValueError("a calibration map of the reference profile is damaged: knots without values")
                _rising(known.scores, "calibration map")
        for tree in self.trees.trees if self.trees else ():
            sizes = {len(values) for values in tree.leaves} | {1 << len(tree.features)}
            known_features = all(0 <= feature < len(self.trees.codes) for feature in tree.features)  # type: ignore[union-attr]
            if len(sizes) != 1 or len(tree.thresholds) != len(tree.features) or not known_features:
                raise ValueError("the loss trees of the reference profile are damaged: leaves or splits do not fit")


def _rising(values: list[float], what: str) -> None:
    if any(left >= right for left, right in pairwise(values)):
        raise ValueError(f"the {what} of the reference profile are damaged: not sorted and distinct")
