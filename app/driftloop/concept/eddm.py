"""EDDM: the distance between errors against the largest that it has been."""

from __future__ import annotations

from typing import Any

from msgspec import field

from driftloop.concept.base import Detector, Mean

__all__ = ["EDDM"]


class EDDM(Detector, kw_only=True, tag="eddm"):
    """Early drift detection method on zeros (right) and ones (wrong).

    With p the mean and s the deviation of the distances between errors, the level is (p + 2 s) over the largest that it
    has been: warning below ``alpha``, alarm below ``beta``, both after ``warm_start`` values and errors. As in River a
    warning stays until the next error that is neither. The change began where p + 2 s was largest.

    Reference: M. Baena-García and others, "Early drift detection method", IWKDDS 2006.
    """

    warm_start: int = 30
    alpha: float = 0.95
    beta: float = 0.9

    distance: Mean = field(default_factory=Mean)
    squares: float = 0.0  # sum of squared deviations of the distances
    last_error: int = 0
    errors: int = 0
    largest: float = -1.0
    largest_at: int = 0
    level: float | None = None

    def fresh_state(self) -> dict[str, Any]:
        return {
            "distance": Mean(), "squares": 0.0, "last_error": 0, "errors": 0, "largest": -1.0, "largest_at": 0,
            "level": None,
        }  # fmt: skip

    def _step(self, x: float, at: int) -> bool:
        if x != 1.0:
            return False
        self.errors += 1
        apart = float(self.n - self.last_error)
        before = self.distance.value
        self.distance.update(apart)
        self.squares += (apart - before) * (apart - self.distance.value)
        self.last_error = self.n
        if self.n <= self.warm_start:
            return False
        variance = self.squares / (self.distance.n - 1.0) if self.distance.n > 1.0 else 0.0
        value = self.distance.value + 2.0 * variance**0.5
        if value > self.largest:
            self.largest, self.largest_at = value, at
        elif self.errors > self.warm_start:
            self.level = value / self.largest
            if self.level < self.beta:
                self.changed_at = self.largest_at
                return True
            self.warning = self.level < self.alpha
        return False

    @property
    def statistic(self) -> float | None:
        return self.level

    @property
    def threshold(self) -> float | None:
        return self.beta

    @property
    def estimate(self) -> float | None:
        return self.errors / self.n if self.n else None
