"""e-values: evidence that may be combined and corrected whatever depends on what.

An e-value of a null hypothesis is a number >= 0 whose expectation under it is at most 1; a large one speaks against it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from driftloop.drift.multiple_testing import benjamini_hochberg

__all__ = ["calibrate_p", "e_adjusted"]

#: So near to p = 1 the closed form of the calibrator cancels.
_SERIES = 1e-3


def calibrate_p(p_value: float) -> float:
    """An e-value from a p-value: the mixture of the calibrators k p^(k-1) over k in (0, 1),
    (1 - p + p ln p) / (p ln(p)^2).

    V. Vovk, R. Wang, "E-values: calibration, combination and applications", Annals of Statistics 49(3), 2021,
    section 2. It decreases in p and integrates to 1, so that its expectation under the null hypothesis is 1. Raises
    ``ValueError`` for p outside [0, 1].

    >>> round(calibrate_p(0.001), 2), round(calibrate_p(1.0), 2)
    (20.79, 0.5)
    """
    if not 0.0 <= p_value <= 1.0:
        raise ValueError(f"expected a p-value from 0 to 1, got {p_value!r}")
    if p_value == 0.0:
        return sys.float_info.max
    log = math.log(p_value)
    if -log < _SERIES:
        return 0.5 - log / 6 + log * log / 24
    numerator = 1.0 - p_value + p_value * log
    return min(numerator / p_value / (log * log), sys.float_info.max)


def e_adjusted(e_values: Sequence[float]) -> list[float]:
    """For each hypothesis, the smallest false discovery rate at which e-BH rejects it, in the order given.

    e-BH rejects the k hypotheses with the largest e-values, k being the largest number for which the k-th largest is at
    least m / (alpha k), m hypotheses in all: Benjamini-Hochberg on 1 / e. It keeps the false discovery rate at alpha
    under any dependence. R. Wang, A. Ramdas, "False discovery rate control with e-values", Journal of the Royal
    Statistical Society B 84(3), 2022, definition 1 and theorem 1. Raises ``ValueError`` for a negative e-value.

    >>> e_adjusted([400.0, 0.0, 50.0])
    [0.0075, 1.0, 0.03]
    """
    for value in e_values:
        if not value >= 0.0:
            raise ValueError(f"an e-value is a number from 0 on, got {value!r}")
    return [
        min(adjusted, 1.0) for adjusted in benjamini_hochberg([1 / value if value else math.inf for value in e_values])
    ]
