"""Confidence intervals from sums. Only square roots and rational operations, so the same bits on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

__all__ = [
    "Estimate",
    "bounded_interval",
    "difference_interval",
    "mean_interval",
    "normal_interval",
    "ratio_interval",
    "wilson_interval",
    "z_value",
]

Interval = tuple[float | None, float | None]
#: A value with the limits of its interval.
Estimate = tuple[float, float, float]


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


def bounded_interval(
    value: float, variance: float, rows: float, confidence: float, least: float = 0.0, most: float = 1.0
) -> tuple[float, float]:
    """Interval of an estimate in [``least``, ``most``] with this variance (of the delta method, say): Wilson's interval
    of a proportion with the same variance.

    It stays within the range, and where the variance vanishes it is that of a proportion seen in ``rows`` > 0 rows.
    """
    width = most - least
    share = min(1.0, max(0.0, (value - least) / width))
    spread = variance / (width * width)
    effective = share * (1.0 - share) / spread if spread > 0.0 and 0.0 < share < 1.0 else rows
    low, high = wilson_interval(share, effective, confidence)
    return min(value, least + low * width), max(value, least + high * width)


def mean_interval(parts: Sequence[Estimate]) -> tuple[float, float]:
    """Limits of the mean of independent estimates from the limits of each: the square-and-add method.

    Reference: G. Y. Zou, A. Donner, "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine 27, 2008.
    """
    mean = math.fsum(value for value, _, _ in parts) / len(parts)
    below = math.sqrt(math.fsum((value - low) ** 2 for value, low, _ in parts)) / len(parts)
    above = math.sqrt(math.fsum((high - value) ** 2 for value, _, high in parts)) / len(parts)
    return mean - below, mean + above


def difference_interval(first: Estimate, second: Estimate) -> tuple[float, float]:
    """Limits of ``first - second`` from the limits of both, which are independent.

    With Wilson's limits of two proportions this is method 10 of R. G. Newcombe, "Interval estimation for the difference
    between independent proportions: comparison of eleven methods", Statistics in Medicine 17, 1998.
    """
    p, p_low, p_high = first
    q, q_low, q_high = second
    difference = p - q
    return (
        difference - math.sqrt((p - p_low) ** 2 + (q_high - q) ** 2),
        difference + math.sqrt((p_high - p) ** 2 + (q - q_low) ** 2),
    )


def ratio_interval(first: Estimate, second: Estimate) -> tuple[float, float]:
    """Limits of ``first / second`` from the limits of both, which are independent and not negative; ``second`` > 0.

    The upper limit is infinite where the lower one of ``second`` is 0.

    Reference: A. Donner, G. Y. Zou, "Closed-form confidence intervals for functions of the normal mean and standard
    deviation", Statistical Methods in Medical Research 21, 2012 (MOVER-R).
    """
    p, p_low, p_high = first
    q, q_low, q_high = second
    product = p * q
    lower_room = product * product - p_low * q_high * (2.0 * p - p_low) * (2.0 * q - q_high)
    lower_base = q_high * (2.0 * q - q_high)
    if lower_base > 0.0:
        low = (product - math.sqrt(max(0.0, lower_room))) / lower_base
    else:  # the limit of the formula as 2 q nears the upper limit of q
        low = p_low * (2.0 * p - p_low) / (2.0 * product) if product > 0.0 else 0.0
    upper_base = q_low * (2.0 * q - q_low)
    if upper_base <= 0.0:
        return max(0.0, min(low, p / q)), math.inf
    upper_room = product * product - p_high * q_low * (2.0 * p - p_high) * (2.0 * q - q_low)
    high = (product + math.sqrt(max(0.0, upper_room))) / upper_base
    return max(0.0, min(low, p / q)), max(high, p / q)
