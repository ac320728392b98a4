"""Which rows a candidate is trained on, and with which weights: pure functions of the rows, the spec and the change.

What a candidate selects depends only on the rows that it is given, so the same candidate can be trained on all that
lies before the slice on which candidates are compared, then on all before the gates' holdout, then on everything, and
can be selected again from the kept training set.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.events.time import format_time
from driftloop.spec.basics import Task
from driftloop.spec.training import CandidateSpec
from driftloop.training.dataset import TrainingSet
from driftloop.training.reservoir import Reservoir

__all__ = ["Selection", "Unavailable", "select"]

#: Rows that are older than so many half-lives weigh less than a billionth, and are left out.
_MOST_HALF_LIVES = 30.0


class Unavailable(ValueError):
    """The candidate selects nothing; the message says why."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The chosen rows' places, ascending int64 (k,), and their weights with mean 1, float64 (k,), or None."""

    places: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None

    def digest(self, data: TrainingSet) -> str:
        """SHA-256 in hex of the chosen rows' ids and weights, to check a selection from ``data`` that is made again."""
        sha256 = hashlib.sha256()
        for key in data.ids[self.places].tolist():
            sha256.update(f"{len(key)}:{key}".encode())
        if self.weights is not None:
            sha256.update(np.ascontiguousarray(self.weights, dtype="<f8").tobytes())
        return sha256.hexdigest()


def select(candidate: CandidateSpec, data: TrainingSet, task: Task, changed_at_ms: int | None) -> Selection:
    """The candidate's rows of ``data``. "Now" is the newest row's time.

    ``changed_at_ms``: the change that a detector has dated, None if none has. Raises :class:`Unavailable`.
    """
    if len(data) == 0:
        raise Unavailable("there is no row to select from")
    times = data.predicted_at_ms
    first = 0
    if candidate.last_ms is not None:
        first = int(np.searchsorted(times, int(times[-1]) - candidate.last_ms, side="right"))
    if candidate.candidate == "window" and candidate.rows is not None:
        first = max(0, len(data) - candidate.rows)
    if candidate.candidate == "since_change":
        if changed_at_ms is None:
            raise Unavailable("no change has been dated")
        first = int(np.searchsorted(times, changed_at_ms, side="left"))
        if first == len(data):
            raise Unavailable(f"no row is later than the change at {format_time(changed_at_ms)}")
    if candidate.candidate == "decayed":
        return _decayed(candidate, times, first)
    if candidate.candidate == "reservoir":
        return _sampled(candidate, data, task, first)
    return Selection(np.arange(first, len(data), dtype=np.int64))


def _decayed(candidate: CandidateSpec, times: NDArray[np.int64], first: int) -> Selection:
    assert candidate.half_life_ms is not None, "the spec's checks ask for it"
    half_lives = (int(times[-1]) - times[first:]) / candidate.half_life_ms
    young = half_lives <= _MOST_HALF_LIVES
    weights = np.exp2(-half_lives[young])
    # Mean 1: a regularised estimator weighs its penalty against the sum of the weights.
    weights /= weights.mean()
    return Selection(first + np.flatnonzero(young).astype(np.int64), weights)


def _sampled(candidate: CandidateSpec, data: TrainingSet, task: Task, first: int) -> Selection:
    assert candidate.rows is not None, "the spec's checks ask for it"
    sample = Reservoir(candidate.rows, candidate.seed or 0)
    rows = slice(first, None)
    keys, labels = data.ids[rows].tolist(), data.labels[rows].tolist()
    for key, label, time_ms in zip(keys, labels, data.predicted_at_ms[rows].tolist(), strict=True):
        sample.add((time_ms // candidate.stratum_ms, _label_stratum(task, label)), key)
    chosen = sample.chosen()
    return Selection(np.array([first + place for place, key in enumerate(keys) if key in chosen], dtype=np.int64))


def _label_stratum(task: Task, label: Any) -> Any:
    """A class, or the sign and the power of two of a number: strata that two halves of the data agree on."""
    if task != "regression":
        return label
    if not math.isfinite(label):
        return "not finite"
    return (label < 0.0, math.frexp(label)[1]) if label else "zero"
