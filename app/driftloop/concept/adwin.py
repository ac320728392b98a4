"""ADWIN: a window of recent values that is cut wherever two parts of it differ too much in mean."""

from __future__ import annotations

import math
from typing import Any

from msgspec import field

from driftloop.concept.base import Detector

__all__ = ["ADWIN"]


class ADWIN(Detector, kw_only=True, tag="adwin"):
    """Adaptive windowing over exponential buckets (ADWIN2). Looks for a cut every ``clock`` values.

    Buckets of row i summarise 2**i values each, at most ``max_buckets`` of them (one more while merging); the last
    row has the oldest. A cut into an older part of n0 and a newer one of n1 values is one where the means differ by
    more than epsilon = sqrt(2 m v ln(2 ln(n) / delta)) + 2/3 m ln(2 ln(n) / delta), with m = 1 / (n0 - l + 1) +
    1 / (n1 - l + 1), l = ``min_window_length`` and v the variance of the whole window. Two-sided; ``rose`` says which
    way, and ``changed_at`` the cut at which they differ most. Memory O(log n) in the values since the last restart.

    >>> detector = ADWIN()
    >>> detector.update([0.1, 0.2] * 500 + [0.8, 0.9] * 100)
    [1023]
    >>> detector.changed_at
    1000

    Reference: A. Bifet, R. Gavaldà, "Learning from time-changing data with adaptive windowing", SDM 2007.
    """

    delta: float = 0.002
    clock: int = 32
    max_buckets: int = 5
    min_window_length: int = 5
    grace_period: int = 10

    total: float = 0.0
    spread: float = 0.0  # sum of squared deviations from the mean
    width: float = 0.0
    totals: list[list[float]] = field(default_factory=lambda: [[]])
    spreads: list[list[float]] = field(default_factory=lambda: [[]])
    starts: list[list[int]] = field(default_factory=lambda: [[]])  # time of each bucket's first value

    def fresh_state(self) -> dict[str, Any]:
        return {
            "total": 0.0, "spread": 0.0, "width": 0.0, "totals": [[]], "spreads": [[]], "starts": [[]],
        }  # fmt: skip

    def _step(self, x: float, at: int) -> bool:
        self.totals[0].append(x)
        self.spreads[0].append(0.0)
        self.starts[0].append(at)
        self.width += 1.0
        if self.width > 1.0:
            deviation = x - self.total / (self.width - 1.0)
            self.spread += (self.width - 1.0) * deviation * deviation / self.width
        self.total += x
        self._merge_buckets()
        if self.n % self.clock or self.width <= self.grace_period:
            return False
        if not self._has_cut():
            return False
        self.changed_at, self.rose = self._likeliest_cut()
        while self._has_cut():
            self._drop_oldest()
        return True

    def _merge_buckets(self) -> None:
        row = 0
        while len(self.totals[row]) == self.max_buckets + 1:
            if row + 1 == len(self.totals):
                self.totals.append([])
                self.spreads.append([])
                self.starts.append([])
            size = float(2**row)
            first, second = self.totals[row][0], self.totals[row][1]
            apart = first / size - second / size
            self.totals[row + 1].append(first + second)
            self.spreads[row + 1].append(self.spreads[row][0] + self.spreads[row][1] + size * 0.5 * apart * apart)
            self.starts[row + 1].append(self.starts[row][0])
            del self.totals[row][:2], self.spreads[row][:2], self.starts[row][:2]
            row += 1

    def _has_cut(self) -> bool:
        """Whether some cut of the window is significant; then the oldest bucket has to go."""
        n0, n1, u0, u1 = 0.0, self.width, 0.0, self.total
        log_term = math.log(2.0 * math.log(self.width) / self.delta)
        variance = self.spread / self.width
        least = self.min_window_length
        for row in range(len(self.totals) - 1, -1, -1):
            size = float(2**row)
            for total in self.totals[row]:
                n0 += size
                n1 -= size
                u0 += total
                u1 -= total
                if n1 < least or n1 == 0.0:
                    return False  # what remains is smaller still
                if n0 < least:
                    continue
                share = 1.0 / (n0 - least + 1.0) + 1.0 / (n1 - least + 1.0)
                # Removing buckets may leave a spread just below zero, where nothing varies.
                bound = math.sqrt(max(0.0, 2.0 * share * variance * log_term)) + 2.0 / 3.0 * log_term * share
                if abs(u0 / n0 - u1 / n1) > bound:
                    return True
        return False

    def _likeliest_cut(self) -> tuple[int, bool]:
        """Time of the first value after the cut at which the means differ most in standard errors, and whether they
        rise there. What ADWIN keeps itself begins earlier: it stops dropping once no cut is significant."""
        n0, u0 = 0.0, 0.0
        best, found = -1.0, (self.starts[-1][0], True)
        for row in range(len(self.totals) - 1, -1, -1):
            for total, start in zip(self.totals[row], self.starts[row], strict=True):
                if n0:
                    n1 = self.width - n0
                    rise = (self.total - u0) / n1 - u0 / n0
                    if rise * rise * n0 * n1 > best:
                        best, found = rise * rise * n0 * n1, (start, rise > 0.0)
                n0 += float(2**row)
                u0 += total
        return found

    def _drop_oldest(self) -> None:
        size = float(2 ** (len(self.totals) - 1))
        total = self.totals[-1].pop(0)
        spread = self.spreads[-1].pop(0)
        self.starts[-1].pop(0)
        self.width -= size
        self.total -= total
        apart = total / size - self.total / self.width
        self.spread -= spread + size * self.width * apart * apart / (size + self.width)
        while len(self.totals) > 1 and not self.totals[-1]:
            self.totals.pop()
            self.spreads.pop()
            self.starts.pop()

    @property
    def estimate(self) -> float | None:
        return self.total / self.width if self.width else None
