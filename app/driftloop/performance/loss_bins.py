"""Losses of a window by the time of prediction: mergeable, exact, and in order from bin to bin."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from driftloop.performance.bounded_sums import BoundedSums

__all__ = ["LossBin", "LossBins", "LossSettings"]


class LossSettings(Struct, frozen=True):
    """How losses are binned: equally long ``bins`` of a window of ``window_ms``; ``scale`` of a regression's errors."""

    bins: int
    window_ms: int
    scale: float = 1.0


class LossBin(Struct, frozen=True):
    """One bin: event time of its start, rows, errors among them, sum of losses and of their squares."""

    start_ms: int
    rows: int
    errors: int
    total: float
    squares: float


class LossBins:
    """Rows, errors, sum and sum of squares of the losses in each bin. Integers, so the same in any order and split."""

    __slots__ = ("errors", "rows", "settings", "squares", "totals")

    def __init__(self, settings: LossSettings) -> None:
        self.settings = settings
        self.rows = np.zeros(settings.bins, np.int64)
        self.errors = np.zeros(settings.bins, np.int64)
        self.totals = BoundedSums(settings.bins)
        self.squares = BoundedSums(settings.bins)

    def update(
        self, times_ms: NDArray[np.int64], errors: NDArray[np.bool_], losses: NDArray[np.float64], sign: int
    ) -> None:
        """Add (``sign`` 1) or take out again (-1) rows by the time of their prediction; all of shape (n,)."""
        window_ms = self.settings.window_ms
        bins = (times_ms % window_ms) * self.settings.bins // window_ms
        np.add.at(self.rows, bins, sign)
        np.add.at(self.errors, bins, sign * errors.astype(np.int64))
        self.totals.add_at(bins, losses, sign)
        self.squares.add_at(bins, losses * losses, sign)

    def merge(self, other: LossBins) -> None:
        self.rows += other.rows
        self.errors += other.errors
        self.totals.merge(other.totals)
        self.squares.merge(other.squares)

    def copy(self) -> LossBins:
        twin = LossBins(self.settings)
        twin.merge(self)
        return twin

    @property
    def consistent(self) -> bool:
        """False if more was taken out than is here: corrections alone, to be merged with what they correct."""
        return bool(
            ((self.errors >= 0) & (self.errors <= self.rows)).all()
            and min(self.totals.totals) >= 0
            and min(self.squares.totals) >= 0
        )

    def of_window(self, window_start_ms: int) -> list[LossBin]:
        """The bins that have rows, in order."""
        length_ms, count = self.settings.window_ms, self.settings.bins
        return [
            LossBin(
                # Rounded up: the first millisecond that falls into the bin.
                start_ms=window_start_ms + -(-at * length_ms // count),
                rows=int(self.rows[at]),
                errors=int(self.errors[at]),
                total=self.totals.mean(at, 1),
                squares=self.squares.mean(at, 1),
            )
            for at in np.flatnonzero(self.rows).tolist()
        ]

    def to_wire(self) -> dict[str, Any]:
        """The settings, and of each bin that is not empty its number, rows, errors and sums."""
        totals, squares = self.totals.to_wire(), self.squares.to_wire()
        rows, errors = self.rows.tolist(), self.errors.tolist()
        bins = [[at, rows[at], errors[at], totals[at], squares[at]] for at in range(self.settings.bins)]
        kept = [item for item in bins if item[1:] != [0, 0, "0", "0"]]
        return {"settings": [self.settings.bins, self.settings.window_ms, self.settings.scale], "bins": kept}

    @classmethod
    def from_wire(cls, wire: Any, settings: LossSettings) -> LossBins | None:
        """From :meth:`to_wire`; None if the losses were binned by other settings, since those can't be merged.

        Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what is damaged.
        """
        if wire["settings"] != [settings.bins, settings.window_ms, settings.scale]:
            return None
        made = cls(settings)
        for at, rows, errors, total, square in wire["bins"]:
            if not 0 <= at < settings.bins:
                raise ValueError(f"a loss bin from 0 to {settings.bins - 1} was expected, got {at}")
            made.rows[at], made.errors[at] = rows, errors
            made.totals.totals[at], made.squares.totals[at] = int(total, 16), int(square, 16)
        return made

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LossBins):
            return NotImplemented
        return (
            self.settings == other.settings
            and np.array_equal(self.rows, other.rows)
            and np.array_equal(self.errors, other.errors)
            and self.totals == other.totals
            and self.squares == other.squares
        )

    __hash__ = None  # type: ignore[assignment]
