"""A natural logarithm made of correctly rounded operations alone.

``numpy.log`` may differ in the last bit from one processor to the next, and log losses cross machines: a replay must
add up the very numbers that the live run added up. Multiplication, division and addition are the same everywhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["natural_log"]

_SQRT_HALF: Final = 0.7071067811865476
# ln 2 in two parts (fdlibm's e_log.c): exponent times the first part is exact.
_LN2_HIGH: Final = float.fromhex("0x1.62e42feep-1")
_LN2_LOW: Final = float.fromhex("0x1.a39ef35793c76p-33")
# log(m) = 2 atanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...), |s| <= 0.1716: the first term left out is below 2^-57 of the sum.
_COEFFICIENTS: Final = tuple(1.0 / (2 * k + 1) for k in range(10, 0, -1))


def natural_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive normal numbers, shape (n,), within 2 units in the last place.

    >>> natural_log(np.array([1.0, 0.5])).tolist()
    [0.0, -0.6931471805599453]
    """
    mantissa, exponent = np.frexp(values)
    low = mantissa < _SQRT_HALF
    mantissa[low] *= 2.0
    powers = (exponent - low).astype(np.float64)
    s = mantissa - 1.0
    mantissa += 1.0
    s /= mantissa
    square = s * s
    series = square * _COEFFICIENTS[0]
    for coefficient in _COEFFICIENTS[1:]:
        series += coefficient
        series *= square
    series *= s
    series += s
    series *= 2.0
    series += powers * _LN2_LOW
    series += powers * _LN2_HIGH
    return series
