"""Exact sums of floating-point numbers: the same bits in any order and any split into batches.

A float64 is an integer multiple of 2**-1074, so a sum of them is one (long) integer. Batches are reduced to a few
floats without any rounding by extracting the leading bits of all values at once.

Reference: S. M. Rump, T. Ogita, S. Oishi, "Accurate floating-point summation part I: faithful rounding", SIAM Journal
on Scientific Computing 31(1), 2008 (algorithm 3.2, ExtractVector).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["UNIT_EXPONENT", "ExactSum", "SumWire", "exact_units", "float_units", "units_to_float"]

#: One unit of the integers here is 2**-1074, the smallest positive float64.
UNIT_EXPONENT: Final = 1074

#: An exact sum in JSON: odd mantissa in hexadecimal, binary exponent, how many +inf, how many -inf.
SumWire = tuple[str, int, int, int]

_CHUNK = 16_384
_FEW = 8
_LARGE = 2.0**900
_LARGE_SHIFT = 200


def float_units(value: float) -> int:
    """The finite float as an integer number of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (UNIT_EXPONENT + 1 - denominator.bit_length())


def units_to_float(units: int, exponent: int = UNIT_EXPONENT, divisor: int = 1) -> float:
    """``units * 2**-exponent / divisor`` correctly rounded; infinite when beyond float64."""
    try:
        return units / (divisor << exponent)
    except OverflowError:
        return math.inf if units > 0 else -math.inf


def exact_units(values: NDArray[np.float64]) -> int:
    """The exact sum of finite values, shape (n,), as an integer number of 2**-1074."""
    if values.size <= _FEW:
        return sum(map(float_units, values.tolist()))
    return sum(_chunk_units(values[start : start + _CHUNK]) for start in range(0, values.size, _CHUNK))


def _chunk_units(values: NDArray[np.float64]) -> int:
    largest = max(float(values.max()), -float(values.min()))
    if largest >= _LARGE:  # the extraction below would overflow: halve the large ones often enough, which is exact
        is_large = np.abs(values) >= _LARGE
        scaled = np.ldexp(values[is_large], -_LARGE_SHIFT)
        return (_chunk_units(scaled) << _LARGE_SHIFT) + exact_units(values[~is_large])
    total = 0
    rest = values
    count_bits = (values.size + 1).bit_length()
    while largest > 0.0:
        # Adding sigma rounds every value to a multiple of 2**-53 sigma; n such multiples sum without rounding.
        sigma = math.ldexp(1.0, math.frexp(largest)[1] + count_bits)
        high = rest + sigma
        high -= sigma
        total += float_units(float(high.sum()))
        rest = rest - high
        largest = max(float(rest.max()), -float(rest.min()))
    return total


class ExactSum:
    """An exact sum of float64 values that knows no order: ``add``, ``subtract`` and ``merge`` never round.

    Infinite values are counted apart. NaN raises ``ValueError``.

    >>> total = ExactSum()
    >>> total.add([1e308, 1.0, -1e308])
    >>> total.value()
    1.0
    """

    __slots__ = ("negative_infinite", "positive_infinite", "units")

    def __init__(self, units: int = 0, positive_infinite: int = 0, negative_infinite: int = 0) -> None:
        self.units = units
        self.positive_infinite = positive_infinite
        self.negative_infinite = negative_infinite

    def add(self, values: ArrayLike) -> None:
        """Add all values of an array of any shape."""
        self._add(values, 1)

    def subtract(self, values: ArrayLike) -> None:
        """Take values out again that were added before (here or in a sum merged into this one)."""
        self._add(values, -1)

    def _add(self, values: ArrayLike, sign: int) -> None:
        array = np.asarray(values, dtype=np.float64).ravel()
        if not array.size:
            return
        # The plain sum tells cheaply that all are finite; an overflow of finite values is sorted out below.
        with np.errstate(over="ignore", invalid="ignore"):
            plain = float(array.sum())
        if not math.isfinite(plain):
            finite = np.isfinite(array)
            if np.isnan(array).any():
                raise ValueError("an exact sum cannot take NaN: leave missing values out before adding")
            self.positive_infinite += sign * int(np.count_nonzero(array == np.inf))
            self.negative_infinite += sign * int(np.count_nonzero(array == -np.inf))
            array = array[finite]
        self.units += sign * exact_units(array)

    def merge(self, other: ExactSum) -> None:
        """Add another sum."""
        self.units += other.units
        self.positive_infinite += other.positive_infinite
        self.negative_infinite += other.negative_infinite

    def copy(self) -> ExactSum:
        return ExactSum(self.units, self.positive_infinite, self.negative_infinite)

    @property
    def finite(self) -> bool:
        """Whether no infinite value is in the sum."""
        return not self.positive_infinite and not self.negative_infinite

    def value(self) -> float:
        """The sum, correctly rounded. Infinite if infinite values of one sign are in it or it is beyond float64; NaN if
        infinite values of both signs are."""
        if self.positive_infinite and self.negative_infinite:
            return math.nan
        if self.positive_infinite:
            return math.inf
        if self.negative_infinite:
            return -math.inf
        return units_to_float(self.units)

    def mean(self, count: int) -> float:
        """The sum divided by ``count`` > 0, rounded once; finite for finite values even where the sum overflows."""
        return units_to_float(self.units, divisor=count) if self.finite else self.value()

    def to_wire(self) -> SumWire:
        """A tuple for JSON; equal sums have equal tuples."""
        if not self.units:
            return ("0", 0, self.positive_infinite, self.negative_infinite)
        zeros = (self.units & -self.units).bit_length() - 1
        return (
            f"{self.units >> zeros:x}",
            zeros - UNIT_EXPONENT,
            self.positive_infinite,
            self.negative_infinite,
        )

    @classmethod
    def from_wire(cls, wire: SumWire) -> ExactSum:
        """The sum that :meth:`to_wire` described. Raises ``ValueError`` if it is none."""
        mantissa, exponent, positive_infinite, negative_infinite = wire
        if not -UNIT_EXPONENT <= exponent <= 2 * UNIT_EXPONENT or len(mantissa) > 1024:
            raise ValueError(f"not an exact sum: exponent {exponent}, mantissa of {len(mantissa)} digits")
        try:
            units = int(mantissa, 16) << (exponent + UNIT_EXPONENT)
        except ValueError:
            raise ValueError(f"not an exact sum: mantissa {mantissa[:40]!r} is not hexadecimal") from None
        return cls(units, positive_infinite, negative_infinite)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExactSum):
            return NotImplemented
        return (self.units, self.positive_infinite, self.negative_infinite) == (
            other.units,
            other.positive_infinite,
            other.negative_infinite,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ExactSum({self.value()!r})"
