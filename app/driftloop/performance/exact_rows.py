"""Several exact sums at once: one pass of array operations for all of them, which is what small batches need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from driftloop.profiles.exact import ExactSum, float_units

__all__ = ["add_rows"]

_MOST_COLUMNS: Final = 16_384
_LARGE: Final = 2.0**900


def add_rows(sums: Sequence[ExactSum], terms: NDArray[np.float64], sign: int) -> None:
    """Add (``sign`` 1) or take out again (-1) row i of ``terms``, shape (len(sums), n), to sum i. No NaN.

    The same as :meth:`ExactSum.add` for every row, and about three times as fast for tens of columns. The array is used
    as scratch space.

    Reference: S. M. Rump, T. Ogita, S. Oishi, "Accurate floating-point summation part I", SIAM J. Sci. Comput. 31(1),
    2008 (algorithm 3.2, ExtractVector).
    """
    columns = terms.shape[1]
    largest = np.abs(terms).max(axis=1)
    if columns > _MOST_COLUMNS or not largest.max() < _LARGE:
        for total, values in zip(sums, terms, strict=True):
            if sign > 0:
                total.add(values)
            else:
                total.subtract(values)
        return
    count_bits = (columns + 1).bit_length()
    while largest.any():
        # Adding sigma rounds every value to a multiple of 2**-53 sigma; n such multiples sum without rounding.
        sigma = np.ldexp(1.0, np.frexp(largest)[1] + count_bits)[:, np.newaxis]
        high = terms + sigma
        high -= sigma
        for total, part in zip(sums, high.sum(axis=1).tolist(), strict=True):
            if part:
                total.units += sign * float_units(part)
        terms -= high
        largest = np.abs(terms).max(axis=1)
