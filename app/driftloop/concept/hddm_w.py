"""HDDM-W: exponentially weighted means before and after the best cut, by McDiarmid's inequality."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct, field

from driftloop.concept.base import Detector, Mean

__all__ = ["HDDMW", "WeightedMean"]


class WeightedMean(Struct):
    """An exponentially weighted mean, and the sum of squared weights that McDiarmid's bound needs."""

    value: float | None = None
    bound: float = 1.0

    def update(self, x: float, weight: float) -> None:
        self.value = x if self.value is None else weight * x + (1.0 - weight) * self.value
        self.bound = weight * weight + (1.0 - weight) ** 2 * self.bound

    def copy(self) -> WeightedMean:
        return WeightedMean(self.value, self.bound)


class HDDMW(Detector, kw_only=True, tag="hddm_w"):
    """Drift detection by McDiarmid's bounds on weighted averages, for values in [0, 1].

    The mean of everything with weight ``lambda_val`` for the newest, b the sum of squared weights, and eps(b) =
    sqrt(b ln(1 / confidence) / 2). The cut is where mean + eps was lowest; a rise is significant if the mean since then
    exceeds the one up to it by eps(b1 + b2). ``two_sided_test`` looks for falls too. The change is dated where the
    weighted mean was last on the plain mean's side of it: the cut itself may lie long before.

    Reference: I. Frías-Blanco and others, "Online and non-parametric drift detection methods based on Hoeffding's
    bounds", IEEE TKDE 27(3), 2015 (W-test).
    """

    drift_confidence: float = 0.001
    warning_confidence: float = 0.005
    lambda_val: float = 0.05
    two_sided_test: bool = False

    whole: WeightedMean = field(default_factory=WeightedMean)
    before_rise: WeightedMean = field(default_factory=WeightedMean)
    since_rise: WeightedMean = field(default_factory=WeightedMean)
    before_fall: WeightedMean = field(default_factory=WeightedMean)
    since_fall: WeightedMean = field(default_factory=WeightedMean)
    mean: Mean = field(default_factory=Mean)  # of everything, for the date of a change alone
    rise_cut: float | None = None
    fall_cut: float | None = None
    rise_at: int = 0
    fall_at: int = 0

    def fresh_state(self) -> dict[str, Any]:
        means = ("whole", "before_rise", "since_rise", "before_fall", "since_fall")
        return {
            **{name: WeightedMean() for name in means},
            "mean": Mean(),
            "rise_cut": None, "fall_cut": None, "rise_at": 0, "fall_at": 0,
        }  # fmt: skip

    def _step(self, x: float, at: int) -> bool:
        weight = self.lambda_val
        whole = self.whole
        whole.update(x, weight)
        assert whole.value is not None, "it has just been updated"
        margin = _mcdiarmid(whole.bound, self.drift_confidence)
        if self.rise_cut is None or whole.value + margin < self.rise_cut:
            self.rise_cut = whole.value + margin
            self.before_rise, self.since_rise = whole.copy(), WeightedMean()
        else:
            self.since_rise.update(x, weight)
        if self.fall_cut is None or whole.value - margin > self.fall_cut:
            self.fall_cut = whole.value - margin
            self.before_fall, self.since_fall = whole.copy(), WeightedMean()
        else:
            self.since_fall.update(x, weight)
        self.mean.update(x)
        if whole.value <= self.mean.value:
            self.rise_at = at
        if whole.value >= self.mean.value:
            self.fall_at = at
        self.warning = False
        if _exceeds(self.since_rise, self.before_rise, self.drift_confidence):
            self.changed_at, self.rose = self.rise_at, True
            return True
        self.warning = _exceeds(self.since_rise, self.before_rise, self.warning_confidence)
        if self.two_sided_test:
            if _exceeds(self.before_fall, self.since_fall, self.drift_confidence):
                self.changed_at, self.rose = self.fall_at, False
                return True
            self.warning = self.warning or _exceeds(self.before_fall, self.since_fall, self.warning_confidence)
        return False

    @property
    def statistic(self) -> float | None:
        if self.since_rise.value is None or self.before_rise.value is None:
            return None
        return self.since_rise.value - self.before_rise.value

    @property
    def threshold(self) -> float | None:
        return _mcdiarmid(self.before_rise.bound + self.since_rise.bound, self.drift_confidence)

    @property
    def estimate(self) -> float | None:
        return self.whole.value


def _mcdiarmid(bound: float, confidence: float) -> float:
    return math.sqrt(bound * math.log(1.0 / confidence) / 2.0)


def _exceeds(larger: WeightedMean, smaller: WeightedMean, confidence: float) -> bool:
    if larger.value is None or smaller.value is None:
        return False
    return larger.value - smaller.value > _mcdiarmid(larger.bound + smaller.bound, confidence)
