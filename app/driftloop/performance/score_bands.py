"""How many predictions of each band of scores were made, and how many of them have a label.

If labels come for some scores and not for others (a loan that is refused has no outcome, a flagged payment is blocked),
what a retraining would learn from is what the model itself has chosen: a feedback loop. A band is a tenth of the
reference's scores, so bands of several versions can be compared; for several classes it is a tenth of the range of the
highest probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.numeric import NumericReference
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec.basics import Task

__all__ = ["BANDS", "ScoreBands", "band_edges", "band_scores"]

BANDS: Final = 10


def band_edges(task: Task, profile: ReferenceProfile) -> tuple[float, ...]:
    """Limits between bands, rising; a score that is a limit belongs to the band below. Empty: there are no bands
    (ranked lists, a reference without predictions or with one score)."""
    if task == "multiclass":
        return tuple(tenth / BANDS for tenth in range(1, BANDS))
    reference = profile.features.get(PREDICTION)
    if task == "ranking" or not isinstance(reference, NumericReference) or not reference.rows:
        return ()
    known: tuple[float, ...] | None = reference.memo.get("score_bands")
    if known is None:
        up_to = np.cumsum(reference.count_array)[1::2]  # rows of the reference that are no more than each anchor
        tenths = np.arange(1, BANDS) * reference.rows
        places = np.searchsorted(up_to * BANDS, tenths, side="left")
        edges = sorted({reference.anchors[min(place, len(reference.anchors) - 1)] for place in places.tolist()})
        known = reference.memo["score_bands"] = tuple(edge for edge in edges if edge < reference.anchors[-1])
    return known


def band_scores(task: Task, predictions: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is banded of predictions, shape (n,): the prediction itself, or of (n, classes) the highest probability."""
    if task != "multiclass":
        return predictions
    return np.asarray(predictions.max(axis=1), np.float64) if len(predictions) else np.zeros(0)


class ScoreBands:
    """Counts by band, shape (bands,), int64: exact, so they merge in any order to the same numbers.

    >>> bands = ScoreBands((0.5,))
    >>> bands.add_predicted(np.array([0.1, 0.5, 0.9]))
    >>> bands.add_labeled(np.array([0.9]), 1)
    >>> bands.predicted.tolist(), bands.labeled.tolist()
    ([2, 1], [0, 1])
    """

    __slots__ = ("edges", "labeled", "predicted")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.predicted = np.zeros(len(edges) + 1, np.int64)
        self.labeled = np.zeros(len(edges) + 1, np.int64)

    def add_predicted(self, scores: NDArray[np.float64]) -> None:
        self.predicted += self._count(scores)

    def add_labeled(self, scores: NDArray[np.float64], sign: int) -> None:
        """Add (``sign`` 1) or take out again (-1: a corrected label)."""
        self.labeled += sign * self._count(scores)

    def _count(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        bands = np.searchsorted(np.asarray(self.edges), scores, side="left")
        return np.bincount(bands, minlength=len(self.edges) + 1).astype(np.int64)

    def merge(self, other: ScoreBands) -> None:
        """Add the counts of another one of the same edges."""
        self.predicted += other.predicted
        self.labeled += other.labeled

    def copy(self) -> ScoreBands:
        twin = ScoreBands(self.edges)
        twin.merge(self)
        return twin

    def to_wire(self) -> dict[str, Any]:
        return {"edges": list(self.edges), "predicted": self.predicted.tolist(), "labeled": self.labeled.tolist()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], edges: tuple[float, ...]) -> ScoreBands | None:
        """None if they were counted between other edges. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        if tuple(wire["edges"]) != edges:
            return None
        bands = cls(edges)
        for name in ("predicted", "labeled"):
            counts = np.asarray(wire[name], np.int64)
            if counts.shape != bands.predicted.shape:
                raise ValueError(f"expected counts of {len(edges) + 1} score bands, got {counts.size}")
            setattr(bands, name, counts)
        return bands

    def __eq__(self, other: object) -> bool:
        return self.to_wire() == other.to_wire() if isinstance(other, ScoreBands) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
