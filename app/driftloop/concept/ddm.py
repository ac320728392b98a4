"""DDM: the error rate against the lowest that it has been."""

from __future__ import annotations

import math
from typing import Any

from msgspec import field

from driftloop.concept.base import Detector, Mean

__all__ = ["DDM"]


class DDM(Detector, kw_only=True, tag="ddm"):
    """Drift detection method on zeros (right) and ones (wrong).

    With p the error rate since the restart and s = sqrt(p (1 - p) / n), and p_min, s_min those where p + s was lowest:
    warning if p + s > p_min + ``warning_threshold`` s_min, alarm if p + s > p_min + ``drift_threshold`` s_min, both
    after ``warm_start`` values. The change began where p + s was lowest.

    Reference: J. Gama, P. Medas, G. Castillo, P. Rodrigues, "Learning with drift detection", SBIA 2004.
    """

    warm_start: int = 30
    warning_threshold: float = 2.0
    drift_threshold: float = 3.0

    mean: Mean = field(default_factory=Mean)
    p_min: float | None = None
    s_min: float = 0.0
    lowest_at: int = 0

    def fresh_state(self) -> dict[str, Any]:
        return {"mean": Mean(), "p_min": None, "s_min": 0.0, "lowest_at": 0}

    def _step(self, x: float, at: int) -> bool:
        mean = self.mean
        mean.update(x)
        p = mean.value
        if self.n <= self.warm_start:
            return False
        s = math.sqrt(max(0.0, p * (1.0 - p) / mean.n))
        if self.p_min is None or p + s <= self.p_min + self.s_min:
            self.p_min, self.s_min, self.lowest_at = p, s, at
        if p + s > self.p_min + self.drift_threshold * self.s_min:
            self.warning = False
            self.changed_at = self.lowest_at
            return True
        self.warning = p + s > self.p_min + self.warning_threshold * self.s_min
        return False

    @property
    def statistic(self) -> float | None:
        p, n = self.mean.value, self.mean.n
        return p + math.sqrt(max(0.0, p * (1.0 - p) / n)) if n else None

    @property
    def threshold(self) -> float | None:
        return None if self.p_min is None else self.p_min + self.drift_threshold * self.s_min

    @property
    def estimate(self) -> float | None:
        return self.mean.value if self.mean.n else None
