"""Confidence intervals from sums. Only square roots and rational operations, so the same bits on every machine."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

__all__ = ["normal_interval", "wilson_interval", "z_value"]

Interval = tuple[float | None, float | None]


@lru_cache(maxsize=64)
def z_value(confidence: float) -> float:
    """The two-sided standard normal quantile: 1.96 for 0.95. Raises ``ValueError`` unless 0 < confidence < 1."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be between 0 and 1 (both excluded), for instance 0.95; got {confidence!r}")
    # Rounded, because the quantile rests on the C library's logarithm.
    return round(NormalDist().inv_cdf(0.5 + confidence / 2.0), 12)


def wilson_interval(proportion: float, rows: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion seen in ``rows`` > 0 rows (an effective number may be fractional).

    Reference: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    >>> [round(limit, 4) for limit in wilson_interval(0.5, 10, 0.95)]
    [0.2366, 0.7634]
    """
    z = z_value(confidence)
    square = z * z / rows
    centre = (proportion + square / 2.0) / (1.0 + square)
    half = z / (1.0 + square) * math.sqrt(proportion * (1.0 - proportion) / rows + square / (4.0 * rows))
    # At 0 and 1 the limit is exactly the proportion; rounding must not put it on the wrong side.
    return max(0.0, min(proportion, centre - half)), min(1.0, max(proportion, centre + half))


def normal_interval(mean: float, variance: float, rows: int, confidence: float) -> Interval:
    """Normal interval of a mean, given the sample variance of its terms; (None, None) with fewer than two rows."""
    if rows < 2 or not math.isfinite(mean) or not math.isfinite(variance):
        return None, None
    half = z_value(confidence) * math.sqrt(max(0.0, variance) / rows)
    return mean - half, mean + half
