"""Detectors that take whole batches of rows: number, sum and sum of squares of losses in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import field
from numpy.typing import NDArray

from driftloop.concept.base import Detector, as_times
from driftloop.concept.bets import BETS, log_factors, spread_around

__all__ = ["BatchDetector"]


class BatchDetector(Detector, kw_only=True):
    """What the detectors with a guarantee share: running sums, and for each bet when its winning streak began.

    ``bound``: the risk up to which all is well; ``reference``: the risk that is expected, a first guess that costs
    power and never validity if it is wrong. Both in [0, 1].
    """

    bound: float
    reference: float = 0.5

    total: float = 0.0
    spread: float = 0.0  # squared deviations from the guess before each batch
    streaks: list[float] = field(default_factory=lambda: [0.0] * BETS)  # ln of each bet's CUSUM, not below 0
    starts: list[int] = field(default_factory=lambda: [0] * BETS)  # when each streak began

    def fresh_state(self) -> dict[str, Any]:
        return {"total": 0.0, "spread": 0.0, "streaks": [0.0] * BETS, "starts": [0] * BETS}

    def update(self, values: NDArray[np.float64] | Sequence[float], times: Sequence[int] | None = None) -> list[int]:
        """Each loss as a batch of one. Raises ``ValueError`` for what is not a number in [0, 1]."""
        array = np.asarray(values, np.float64)
        return self.update_batches(np.ones(array.size, np.int64), array, array * array, times)

    def update_batches(
        self,
        rows: NDArray[np.int64] | Sequence[int],
        totals: NDArray[np.float64] | Sequence[float],
        squares: NDArray[np.float64] | Sequence[float],
        times: Sequence[int] | None = None,
    ) -> list[int]:
        """Take in batches in order; the positions of those at which an alarm was raised. Batches without rows are
        skipped. Raises ``ValueError``, before anything is taken in, for sums that no losses in [0, 1] can have."""
        counts, sums = np.asarray(rows, np.int64), np.asarray(totals, np.float64)
        second = np.asarray(squares, np.float64)
        slack = 1e-9 * (1.0 + counts)
        if not (
            counts.shape == sums.shape == second.shape
            and bool((counts >= 0).all())
            and bool(((sums >= -slack) & (sums <= counts + slack)).all())
            and bool(((second >= -slack) & (second <= sums + slack)).all())
        ):
            raise ValueError("a detector with a guarantee takes losses in [0, 1]: finite numbers, equally many of each")
        alarms = []
        moments = as_times(times, counts.size, self.seen)
        batches = zip(counts.tolist(), sums.tolist(), second.tolist(), moments, strict=True)
        for position, (count, total, square, at) in enumerate(batches):
            if count == 0:
                continue
            if self.detected or self.anew:
                self._restart()
            # One row's worth of weight for the expectation: known before the batch, as everything here is.
            guess = (self.reference + self.total) / (1.0 + self.n)
            around = spread_around(guess, count, total, square)
            factors = log_factors(count, total, around, self.bound)
            self._extend_streaks(factors, at)
            self.n += count
            self.total += total
            self.spread += around
            self.detected = self._settle(factors, at)
            if self.detected:
                self.changed_at = self.starts[int(np.argmax(self.streaks))]
                self.rose = True
                alarms.append(position)
        self.seen += counts.size
        if not counts.any():
            self._take_nothing()
        return alarms

    def _settle(self, factors: NDArray[np.float64], at: int) -> bool:
        """Take in a batch's bets; whether that is an alarm."""
        raise NotImplementedError

    def _extend_streaks(self, factors: NDArray[np.float64], at: int) -> None:
        for bet, gain in enumerate(factors.tolist()):
            if self.streaks[bet] <= 0.0:
                self.starts[bet] = at
            self.streaks[bet] = max(0.0, self.streaks[bet] + gain)

    def e_value(self) -> float | None:
        """The evidence against "no change" that may be read at any time, where the detector has such a number."""
        return None

    @property
    def estimate(self) -> float | None:
        return self.total / self.n if self.n else None


def finite_exp(logarithm: float) -> float:
    """exp, but never infinite: JSON knows no infinity.

    >>> finite_exp(1e6) < math.inf
    True
    """
    return math.exp(min(logarithm, 700.0))
