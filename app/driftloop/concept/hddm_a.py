"""HDDM-A: the mean before and after the best cut, by Hoeffding's inequality."""

from __future__ import annotations

import math
from typing import Any

from msgspec import field

from driftloop.concept.base import Detector, Mean

__all__ = ["HDDMA"]


class HDDMA(Detector, kw_only=True, tag="hddm_a"):
    """Drift detection by Hoeffding's bounds on averages, for values in [0, 1].

    The cut is where the mean plus its Hoeffding bound sqrt(ln(1 / ``drift_confidence``) / 2n) was lowest. With n1
    values up to it of n, a rise is significant if the mean of all exceeds that up to the cut by
    sqrt((n - n1) / (2 n1 n) ln(2 / confidence)). ``two_sided_test`` looks for falls too.

    Reference: I. Frías-Blanco and others, "Online and non-parametric drift detection methods based on Hoeffding's
    bounds", IEEE TKDE 27(3), 2015 (A-test).
    """

    drift_confidence: float = 0.001
    warning_confidence: float = 0.005
    two_sided_test: bool = False

    low: Mean = field(default_factory=Mean)  # up to the cut for a rise
    high: Mean = field(default_factory=Mean)  # up to the cut for a fall
    mean: Mean = field(default_factory=Mean)
    low_at: int = 0
    high_at: int = 0

    def fresh_state(self) -> dict[str, Any]:
        return {"low": Mean(), "high": Mean(), "mean": Mean(), "low_at": 0, "high_at": 0}

    def _step(self, x: float, at: int) -> bool:
        mean = self.mean
        mean.update(x)
        log_term = math.log(1.0 / self.drift_confidence)
        bound = math.sqrt(1.0 / (2.0 * mean.n) * log_term)
        low, high = self.low, self.high
        if low.n == 0.0 or low.value + math.sqrt(1.0 / (2.0 * low.n) * log_term) >= mean.value + bound:
            self.low, self.low_at = low, _ = mean.copy(), at
        if high.n == 0.0 or high.value - math.sqrt(1.0 / (2.0 * high.n) * log_term) <= mean.value - bound:
            self.high, self.high_at = high, _ = mean.copy(), at
        rise = mean.value - low.value
        self.warning = False
        if self._significant(rise, low, self.drift_confidence):
            self.changed_at, self.rose = self.low_at, True
            return True
        if self._significant(rise, low, self.warning_confidence):
            self.warning = True
        if self.two_sided_test:
            fall = high.value - mean.value
            if self._significant(fall, high, self.drift_confidence):
                self.changed_at, self.rose = self.high_at, False
                return True
            if self._significant(fall, high, self.warning_confidence):
                self.warning = True
        return False

    def _significant(self, difference: float, cut: Mean, confidence: float) -> bool:
        if cut.n == self.mean.n:
            return False
        share = (self.mean.n - cut.n) / cut.n * (1.0 / self.mean.n)
        return difference >= math.sqrt(share / 2.0 * math.log(2.0 / confidence))

    @property
    def statistic(self) -> float | None:
        return self.mean.value - self.low.value if self.mean.n else None

    @property
    def threshold(self) -> float | None:
        if self.low.n in (0.0, self.mean.n):
            return None
        share = (self.mean.n - self.low.n) / self.low.n / self.mean.n
        return math.sqrt(share / 2.0 * math.log(2.0 / self.drift_confidence))

    @property
    def estimate(self) -> float | None:
        return self.mean.value if self.mean.n else None
