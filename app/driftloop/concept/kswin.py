"""KSWIN: the newest values against a sample of those before, by the Kolmogorov-Smirnov test."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from msgspec import field
from scipy.stats import ks_2samp

from driftloop.concept.base import Detector

__all__ = ["KSWIN"]

_WORDS = 624


class KSWIN(Detector, kw_only=True, tag="kswin"):
    """Kolmogorov-Smirnov windowing.

    Of the last ``window_size`` values the newest ``stat_size`` are tested against as many drawn from the rest; alarm if
    the p-value is at most ``alpha`` and the statistic above 0.1. Each value is a test of its own: alarms on a stable
    stream are to be expected at a rate in the order of ``alpha``. Draws come from a Mersenne twister that starts with
    ``seed`` at each restart. About 0.2 ms a value.

    Reference: C. Raab, M. Heusinger, F.-M. Schleif, "Reactive soft prototype computing for concept drift streams",
    Neurocomputing 416, 2020.
    """

    alpha: float = 0.005
    window_size: int = 100
    stat_size: int = 30
    seed: int = 0

    window: list[float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    p_value: float | None = None
    distance: float | None = None
    generator: bytes = b""  # 624 words, little-endian; empty: as the seed makes it
    generator_position: int = _WORDS

    def fresh_state(self) -> dict[str, Any]:
        return {
            "window": [], "times": [], "p_value": None, "distance": None, "generator": b"",
            "generator_position": _WORDS,
        }  # fmt: skip

    def _step(self, x: float, at: int) -> bool:
        self.window.append(x)
        self.times.append(at)
        del self.window[: -self.window_size], self.times[: -self.window_size]
        if len(self.window) < self.window_size:
            return False
        older = self.window_size - self.stat_size
        drawn = [self.window[index] for index in self._sample(older, self.stat_size)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that ties rule out the exact p-value
            result = ks_2samp(drawn, self.window[older:], method="auto")
        self.distance, self.p_value = float(result.statistic), float(result.pvalue)
        if not (self.p_value <= self.alpha and self.distance > 0.1):
            return False
        self.changed_at = self.times[older]
        self.rose = sum(self.window[older:]) / self.stat_size > sum(drawn) / self.stat_size
        return True

    def _sample(self, population: int, count: int) -> list[int]:
        """``count`` of ``population`` indexes without replacement, as Python's ``random.sample`` draws them."""
        bits = np.random.MT19937()
        state = bits.state
        if self.generator:
            key = np.frombuffer(self.generator, "<u4").astype(np.uint32)
        else:
            # An array as legacy seed is what Python's generator is seeded by, too.
            key = np.random.RandomState([self.seed]).get_state(legacy=False)["state"]["key"]
        state["state"] = {"key": key, "pos": self.generator_position}
        bits.state = state
        pool = list(range(population))
        chosen = []
        for taken in range(count):
            left = population - taken
            shift = 32 - left.bit_length()
            index = int(bits.random_raw()) >> shift
            while index >= left:
                index = int(bits.random_raw()) >> shift
            chosen.append(pool[index])
            pool[index] = pool[left - 1]
        after = bits.state["state"]
        self.generator = np.asarray(after["key"], "<u4").tobytes()
        self.generator_position = int(after["pos"])
        return chosen

    @property
    def statistic(self) -> float | None:
        return self.distance

    @property
    def estimate(self) -> float | None:
        return sum(self.window[-self.stat_size :]) / self.stat_size if len(self.window) >= self.stat_size else None
