"""Which of a window's labels have come, by when the prediction was made and what the label says.

A label's delay may hang on the outcome (fraud is found late, a punctual flight lands early), so the labels that are
there are not like those that will be. Counting them by outcome, and by slot of the window, is what a correction needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop.performance.binary import log_losses
from driftloop.performance.delays import DelayHistogram
from driftloop.performance.sparse import load_sparse, to_sparse
from driftloop.profiles.exact import ExactSum
from driftloop.spec.basics import Task

__all__ = ["LOSS_NAMES", "SLOTS", "Arrivals"]

#: Parts of a window, by the time of the prediction.
SLOTS: Final = 24
#: Classes of a multiclass task beyond this share the last stratum.
_MAX_STRATA: Final = 8
#: Bounded losses are added as integers of this unit: 2**27 rows of the largest loss (36) fit.
_UNIT: Final = 2.0**24

LOSS_NAMES: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("brier", "log_loss"),
    "multiclass": ("log_loss",),
    "regression": ("mae", "mse"),
}


class Arrivals:
    """Counts by cell (stratum x slot): predictions made, labels there, right decisions, sums of losses; delays by
    stratum. A stratum is what the label says: 0 or 1, the class, or (regression) below or from ``center`` on."""

    __slots__ = (
        "center",
        "delays",
        "labeled",
        "losses",
        "predicted",
        "right",
        "sums",
        "task",
        "threshold",
        "window_ms",
    )

    def __init__(self, task: Task, classes: int, threshold: float, center: float, window_ms: int) -> None:
        self.task: Task = task
        self.threshold = threshold
        self.center = center
        self.window_ms = window_ms
        strata = min(classes, _MAX_STRATA) if task == "multiclass" else 2
        self.predicted = np.zeros(SLOTS, np.int64)
        self.labeled = np.zeros((strata, SLOTS), np.int64)
        self.right = np.zeros((strata, SLOTS), np.int64)
        self.delays = [DelayHistogram() for _ in range(strata)]
        # Losses of a classification are bounded and kept as integers; those of a regression are exact sums.
        self.losses = np.zeros((0 if task == "regression" else len(LOSS_NAMES[task]), strata, SLOTS), np.int64)
        self.sums: dict[tuple[int, int], ExactSum] = {}  # (loss, cell)

    def add_predicted(self, offsets_ms: NDArray[np.int64]) -> None:
        """Predictions made so long after the window's start, shape (n,)."""
        self.predicted += np.bincount(self._slots(offsets_ms), minlength=SLOTS)

    def update(
        self,
        predictions: NDArray[np.float64],
        labels: NDArray[np.int64] | NDArray[np.float64],
        delays_ms: NDArray[np.int64],
        offsets_ms: NDArray[np.int64],
        sign: int,
    ) -> None:
        """Add labeled predictions (``sign`` 1) or take them out again (-1). Shapes as for ``OutcomeStats.update``."""
        slots = self._slots(offsets_ms)
        strata = self._strata(labels)
        np.add.at(self.labeled, (strata, slots), sign)
        for stratum, delays in enumerate(self.delays):
            chosen = strata == stratum
            if chosen.any():
                delays.add(delays_ms[chosen], sign)
        if self.task == "regression":
            error = np.abs(predictions - labels)
            with np.errstate(over="ignore"):
                losses = (error, error * error)
            cells = strata * SLOTS + slots
            for cell in np.unique(cells).tolist():
                for index, loss in enumerate(losses):
                    total = self.sums.setdefault((index, cell), ExactSum())
                    (total.add if sign > 0 else total.subtract)(loss[cells == cell])
            return
        if self.task == "binary":
            right = (predictions >= self.threshold) == (labels == 1)
            truth = np.where(labels == 1, predictions, 1.0 - predictions)
            terms = [np.square(predictions - labels), log_losses(truth)]
        else:
            right = predictions.argmax(axis=1) == labels
            terms = [log_losses(predictions[np.arange(len(labels)), labels.astype(np.int64)])]
        np.add.at(self.right, (strata, slots), np.where(right, sign, 0))
        for sums, term in zip(self.losses, terms, strict=True):
            np.add.at(sums, (strata, slots), sign * np.rint(term * _UNIT).astype(np.int64))

    def _slots(self, offsets_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.clip(offsets_ms * SLOTS // self.window_ms, 0, SLOTS - 1)

    def _strata(self, labels: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64]:
        if self.task == "regression":
            return (labels >= self.center).astype(np.int64)
        return np.minimum(labels.astype(np.int64), len(self.delays) - 1)

    def loss_sums(self, index: int) -> NDArray[np.float64]:
        """Sums of the loss ``LOSS_NAMES[task][index]`` by stratum and slot."""
        if self.task != "regression":
            return np.asarray(self.losses[index] / _UNIT, np.float64)
        found = np.zeros(self.labeled.size)
        for (loss, cell), total in self.sums.items():
            if loss == index:
                found[cell] = total.value()
        return found.reshape(self.labeled.shape)

    def merge(self, other: Arrivals) -> None:
        self.predicted += other.predicted
        self.labeled += other.labeled
        self.right += other.right
        self.losses += other.losses
        for mine, theirs in zip(self.delays, other.delays, strict=True):
            mine.merge(theirs)
        for key, total in other.sums.items():
            self.sums.setdefault(key, ExactSum()).merge(total)

    def copy(self) -> Arrivals:
        twin = Arrivals(self.task, len(self.delays), self.threshold, self.center, self.window_ms)
        twin.merge(self)
        return twin

    def to_wire(self) -> dict[str, Any]:
        """Equal content gives equal JSON, however it was put together."""
        sums = {f"{loss}/{cell}": list(total.to_wire()) for (loss, cell), total in sorted(self.sums.items())}
        empty = list(ExactSum().to_wire())
        return {
            "predicted": to_sparse(self.predicted),
            "labeled": to_sparse(self.labeled.ravel()),
            "right": to_sparse(self.right.ravel()),
            "losses": to_sparse(self.losses.ravel()),
            "delays": [delays.to_wire() for delays in self.delays],
            "sums": {key: total for key, total in sums.items() if total != empty},
        }

    def load(self, wire: Mapping[str, Any]) -> None:
        """Replace the counts by those of :meth:`to_wire`. Raises ``ValueError`` or ``KeyError`` if they do not fit."""
        if len(wire["delays"]) != len(self.delays):
            raise ValueError(f"expected label delays of {len(self.delays)} strata, got {len(wire['delays'])}")
        self.predicted = load_sparse(wire["predicted"], SLOTS)
        self.labeled = load_sparse(wire["labeled"], self.labeled.size).reshape(self.labeled.shape)
        self.right = load_sparse(wire["right"], self.right.size).reshape(self.right.shape)
        self.losses = load_sparse(wire["losses"], self.losses.size).reshape(self.losses.shape)
        for delays, known in zip(self.delays, wire["delays"], strict=True):
            delays.load(known)
        self.sums = {}
        for key, total in wire["sums"].items():
            loss, _, cell = key.partition("/")
            self.sums[int(loss), int(cell)] = ExactSum.from_wire(tuple(total))

    def __eq__(self, other: object) -> bool:
        return self.to_wire() == other.to_wire() if isinstance(other, Arrivals) else NotImplemented

    __hash__ = None  # type: ignore[assignment]
