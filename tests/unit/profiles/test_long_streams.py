"""Long streams against integer arithmetic: nothing is rounded away however many values come.

``DRIFTLOOP_TEST_STREAM=100000000`` streams 10**8 values (about a minute); otherwise 2 * 10**6.
"""

from __future__ import annotations

import math
import os
from fractions import Fraction

import numpy as np
import pytest

from driftloop.performance.bounded_sums import BoundedSums
from driftloop.profiles.exact import ExactSum
from driftloop.profiles.numeric import NumericReference, NumericSummary

# Read when this file is imported: the tests themselves run without DRIFTLOOP_* in their environment.
VALUES = int(os.environ.get("DRIFTLOOP_TEST_STREAM", "2000000"))
CHUNK = 500_000
# Multiples of 2**-20 whose sum in floats would lose digits: a large offset, small differences.
UNIT = 2.0**-20
OFFSET = 2**50


def chunks() -> list[int]:
    return [min(CHUNK, VALUES - start) for start in range(0, VALUES, CHUNK)]


@pytest.mark.timeout(900)
def test_a_summary_of_a_long_stream_has_the_exact_mean_counts_and_extremes() -> None:
    chance = np.random.default_rng(1)
    reference = NumericReference.build((OFFSET + chance.integers(0, 2**22, 5_000)) * UNIT)
    summary = NumericSummary(reference)
    total, squares, smallest, largest = 0, 0, 2**62, 0
    for size in chunks():
        units = chance.integers(0, 2**22, size)
        summary.update((OFFSET + units) * UNIT)
        total += int(units.sum())
        squares += int(np.sum(units * units, dtype=np.uint64))
        smallest, largest = min(smallest, int(units.min())), max(largest, int(units.max()))
    mean = Fraction(total, VALUES)
    assert summary.rows == VALUES
    assert summary.mean() == float((OFFSET + mean) * Fraction(UNIT))
    assert (summary.minimum, summary.maximum) == ((OFFSET + smallest) * UNIT, (OFFSET + largest) * UNIT)
    variance = (squares - total * mean) / (VALUES - 1) * Fraction(UNIT) ** 2
    std = summary.std()
    assert std is not None
    # Each squared deviation is rounded once, on its own; their sum is exact.
    assert std == pytest.approx(math.sqrt(variance), rel=1e-12)


@pytest.mark.timeout(900)
def test_sums_of_a_long_stream_of_ill_conditioned_terms_are_exact() -> None:
    chance = np.random.default_rng(2)
    exact, bounded = ExactSum(), BoundedSums(1)
    tiny, small = 0, 0
    for size in chunks():
        units = chance.integers(-(2**30), 2**30, size)
        values = units * 2.0**-60
        huge = np.ldexp(1.0, chance.integers(900, 1000, size // 10))
        exact.add(values)
        exact.add(huge)
        exact.add(-huge)
        tiny += int(units.sum())
        multiples = chance.integers(0, 2**40, size)
        bounded.add((multiples * 2.0**-40)[np.newaxis, :], 1)
        small += int(multiples.sum())
    assert exact.value() == float(Fraction(tiny, 2**60))
    assert bounded.mean(0, VALUES) == float(Fraction(small, VALUES * 2**40))
