"""What the gates are given: a challenger, the champion, the holdout's rows, and the rows before them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from driftloop.profiles.columns import Columns
from driftloop.spec.gates import GateSpec
from driftloop.spec.model import ModelSpec
from driftloop.training.gates.fair_rows import FairRows, fair_rows

__all__ = ["Candidate", "Predict", "Reference", "Rival", "Trial", "attempt", "seed_from", "unusable"]

Floats = NDArray[np.float64]
#: n rows of features to what a model says about them: (n,), or (n, k) probabilities for multiclass.
Predict = Callable[[pd.DataFrame | Columns], Floats]

#: Sums of class probabilities may differ from 1 by this.
_SUM_TOLERANCE = 1e-6
#: A sentence holds so much of an error.
_ERROR_LENGTH = 200


@dataclass(frozen=True)
class Candidate:
    """The challenger on the holdout's rows.

    ``scores`` are predictions of a model that has not seen these rows in training (``judged`` predicts with it);
    ``released`` are those of the model in ``artifact``, which may have been fitted again on all rows (``served``).
    """

    scores: Floats
    released: Floats
    artifact: bytes
    judged: Predict | None = None
    served: Predict | None = None


@dataclass(frozen=True)
class Rival:
    """The champion on the holdout's rows.

    ``known`` (n,) marks the rows that it has scores for, ``unseen`` (n,) those of them that are later than its own
    training data. ``predict`` None: it has no model file. ``features``: those it was fitted with, None if unknown.
    """

    version: str
    scores: Floats
    known: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    predict: Predict | None = None
    features: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Reference:
    """The rows that ``Candidate.scores``' model was fitted on: features (m rows) and labels (m,)."""

    frame: pd.DataFrame
    labels: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Trial:
    """Everything that a gate may look at: ``frame`` of features and ``labels`` are the holdout's n rows."""

    spec: ModelSpec
    candidate: Candidate
    champion: Rival | None
    frame: pd.DataFrame
    labels: NDArray[Any]
    reference: Reference
    seed: int

    def minimum_rows(self, gate: GateSpec) -> int:
        """Fewer rows are not judged: the gate's own number, else the model's."""
        return self.spec.minimum_rows if gate.minimum_rows is None else gate.minimum_rows

    def fair_rows(self, champion: Rival) -> FairRows:
        """The rows to compare with the champion on: those that it has not learned."""
        finite = np.isfinite(champion.scores.reshape(len(champion.scores), -1)).all(axis=1)
        learned_if_fewer_than = self.spec.minimum_rows if self.spec.training.compare_on_learned else None
        return fair_rows(champion.known & finite, champion.unseen, learned_if_fewer_than=learned_if_fewer_than)


def unusable(spec: ModelSpec, predictions: Floats) -> str | None:
    """Why predictions are none of the model's task; None if they are."""
    broken = int((~np.isfinite(predictions)).sum())
    if broken:
        return f"{broken:,} predictions are not finite numbers"
    if spec.task == "regression" or predictions.size == 0:
        return None
    if predictions.min() < 0.0 or predictions.max() > 1.0:
        return f"predictions reach from {predictions.min():.4g} to {predictions.max():.4g}, outside of [0, 1]"
    if spec.task == "multiclass" and np.abs(predictions.sum(axis=1) - 1.0).max() > _SUM_TOLERANCE:
        return "the probabilities of some rows do not sum to 1"
    return None


def attempt(spec: ModelSpec, predict: Predict, rows: pd.DataFrame | Columns) -> tuple[Floats | None, str]:
    """What a model says about the rows, or None and why that is nothing to go by: it raises, or :func:`unusable`."""
    try:
        said = predict(rows)
    except Exception as error:  # noqa: BLE001 - whatever the model raises is what it would do in production
        return None, f"the model raises {type(error).__name__}: {str(error)[:_ERROR_LENGTH]}"
    broken = unusable(spec, said)
    return (said, "") if broken is None else (None, broken)


def seed_from(text: str) -> int:
    """A seed for the bootstrap that depends on the text alone (a command id)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
