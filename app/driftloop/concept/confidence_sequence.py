"""A confidence sequence for the risk: an alarm once it shows that the risk is above a bound, right at all times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftloop.concept.batch import BatchDetector, finite_exp
from driftloop.concept.bets import LOG_WEIGHTS, log_factors, log_sum

__all__ = ["ConfidenceSequence"]

_STEPS = 40


class ConfidenceSequence(BatchDetector, kw_only=True, tag="confidence_sequence"):
    """Alarm when the lower confidence sequence of the mean risk since the start lies above ``bound``.

    The capital K_t(m) of bets against "the risk is at most m" (:mod:`driftloop.concept.bets`) reaches 1 / ``alpha``
    with probability at most ``alpha`` over *all* time if that is so (Ville), so L_t = inf {m: K_t(m) < 1 / alpha} is
    below the risk at all times with probability 1 - alpha. The alarm L_t > ``bound`` is the same as K_t(bound) >=
    1 / alpha. If the risk changes, the statement is about its mean since the start.

    After an alarm it *holds* the state of drift and begins a new sequence; it lets go once the upper sequence (the
    same, of 1 - loss) lies below the bound. Each sequence has the error probability ``alpha`` of its own. O(1) memory
    and time a batch.

    References: A. Podkopaev, A. Ramdas, "Tracking the risk of a deployed model and detecting harmful distribution
    shifts", ICLR 2022 (arXiv 2110.06177); I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by
    betting", JRSS B 86, 2024.

    >>> detector = ConfidenceSequence(alpha=0.01, bound=0.2, reference=0.15)
    >>> detector.update([0.0, 0.0, 1.0, 0.0, 0.0] * 100)
    []
    >>> len(detector.update([1.0, 0.0] * 100)), detector.holding
    (1, True)
    """

    alpha: float = 0.005

    holding: bool = False
    evidence: float = 0.0  # ln of the capital at the bound
    peak: float = 0.0  # the most that it has been since the start

    def fresh_state(self) -> dict[str, Any]:
        return {**BatchDetector.fresh_state(self), "evidence": 0.0, "peak": 0.0}

    def _settle(self, factors: NDArray[np.float64], at: int) -> bool:
        self.evidence = self._log_capital(self.bound)
        self.peak = max(self.peak, self.evidence)
        line = math.log(1.0 / self.alpha)
        if self.holding:
            self.warning = False
            if self._log_capital(self.bound, mirrored=True) >= line:
                self.holding = False
                self._restart()
            return False
        self.warning = self.evidence >= line - math.log(10.0)
        if self.evidence < line:
            return False
        self.holding, self.warning = True, False
        return True

    def _log_capital(self, risk: float, *, mirrored: bool = False) -> float:
        """ln of the capital against "at most ``risk``", or mirrored against "at least"."""
        total, against = (self.n - self.total, 1.0 - risk) if mirrored else (self.total, risk)
        return log_sum(LOG_WEIGHTS + log_factors(self.n, total, self.spread, against))

    def interval(self) -> tuple[float, float]:
        """Both limits of the mean risk since the start, each wrong at any time with probability ``alpha`` at most."""
        if not self.n:
            return 0.0, 1.0
        mean = min(1.0, max(0.0, self.total / self.n))
        return self._limit(mean, 0.0, mirrored=False), self._limit(mean, 1.0, mirrored=True)

    def _limit(self, inside: float, outside: float, *, mirrored: bool) -> float:
        line = math.log(1.0 / self.alpha)
        if self._log_capital(outside, mirrored=mirrored) < line:
            return outside
        for _ in range(_STEPS):
            middle = 0.5 * (inside + outside)
            if self._log_capital(middle, mirrored=mirrored) < line:
                inside = middle
            else:
                outside = middle
        return outside  # the side on which the interval is wider by the last step, never narrower

    def e_value(self) -> float | None:
        return finite_exp(self.evidence) if self.n else None

    @property
    def statistic(self) -> float | None:
        return self.interval()[0] if self.n else None

    @property
    def threshold(self) -> float | None:
        return self.bound
