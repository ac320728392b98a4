"""Page-Hinkley: a cumulative sum of deviations from the running mean against its extreme."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from driftloop.concept.base import Detector, Mean

__all__ = ["PageHinkley"]


class PageHinkley(Detector, kw_only=True, tag="page_hinkley"):
    """The Page-Hinkley test with forgetting.

    With d = x - running mean: U = ``alpha`` U + d - ``delta`` and D = ``alpha`` D + d + ``delta``. Alarm, from
    ``min_instances`` values on, if U exceeds its minimum (a rise) or D falls below its maximum (a fall) by more than
    ``threshold``. ``delta`` and ``threshold`` are in the unit of the values: see
    :func:`driftloop.concept.stream.values_of` for values in standard deviations. As in River the maximum begins at -1.

    References: E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954; R. Sebastião, J. M. Fernandes,
    "Supporting the Page-Hinkley test with empirical mode decomposition for change detection", ISMIS 2017.
    """

    min_instances: int = 30
    delta: float = 0.005
    threshold_: float = field(default=50.0, name="threshold")
    alpha: float = 1 - 0.0001
    mode: Literal["up", "down", "both"] = "both"

    mean: Mean = field(default_factory=Mean)
    up: float = 0.0
    down: float = 0.0
    lowest: float | None = None
    highest: float = -1.0
    lowest_at: int = 0
    highest_at: int = 0

    def fresh_state(self) -> dict[str, Any]:
        return {
            "mean": Mean(), "up": 0.0, "down": 0.0, "lowest": None, "highest": -1.0, "lowest_at": 0, "highest_at": 0,
        }  # fmt: skip

    def _step(self, x: float, at: int) -> bool:
        self.mean.update(x)
        deviation = x - self.mean.value
        self.up = self.alpha * self.up + deviation - self.delta
        self.down = self.alpha * self.down + deviation + self.delta
        if self.lowest is None or self.up < self.lowest:
            self.lowest, self.lowest_at = self.up, at
        if self.down > self.highest:
            self.highest, self.highest_at = self.down, at
        if self.n < self.min_instances:
            return False
        if self.mode != "down" and self.up - self.lowest > self.threshold_:
            self.changed_at, self.rose = self.lowest_at, True
            return True
        if self.mode != "up" and self.highest - self.down > self.threshold_:
            self.changed_at, self.rose = self.highest_at, False
            return True
        return False

    @property
    def statistic(self) -> float | None:
        if self.lowest is None:
            return None
        rise, fall = self.up - self.lowest, self.highest - self.down
        return rise if self.mode == "up" else fall if self.mode == "down" else max(rise, fall)

    @property
    def threshold(self) -> float | None:
        return self.threshold_

    @property
    def estimate(self) -> float | None:
        return self.mean.value if self.mean.n else None
