"""Exact sums against math.fsum and fractions, and their independence of order."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.profiles.exact import ExactSum, SumWire, units_to_float

REPEATABLE = settings(derandomize=True, deadline=None)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
BOUNDED = st.floats(min_value=-1e300, max_value=1e300)


def exact(values: object) -> ExactSum:
    total = ExactSum()
    total.add(np.array(values, dtype=np.float64))
    return total


@REPEATABLE
@given(st.lists(BOUNDED, max_size=60))
def test_equals_fsum(values: list[float]) -> None:
    assert exact(values).value() == math.fsum(values)


@REPEATABLE
@given(st.lists(FINITE, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_order_split_and_merge_change_nothing(values: list[float], random: object) -> None:
    expected = exact(values)
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    cut = len(values) // 3
    left, right = exact(shuffled[:cut]), exact(shuffled[cut:])
    right.merge(left)
    assert right == expected
    assert right.to_wire() == expected.to_wire()
    assert sum(map(Fraction, values)) == Fraction(expected.units, 2**1074)


@pytest.mark.parametrize("size", [9, 1000, 16_384, 16_385, 50_000])
@pytest.mark.parametrize("spread", [0, 30, 300])
def test_large_batches_of_any_magnitude(size: int, spread: int) -> None:
    random = np.random.default_rng(size + spread)
    values = random.normal(size=size) * 2.0 ** random.integers(-spread, spread + 1, size)
    assert exact(values).value() == math.fsum(values)


def test_extremes_do_not_overflow_on_the_way() -> None:
    largest, smallest = sys.float_info.max, 5e-324
    values = [largest] * 20 + [smallest, 1.0] + [-largest] * 20
    assert exact(values).units == 1 + 2**1074
    assert exact([largest] * 30).value() == math.inf
    assert exact([-largest] * 30).value() == -math.inf
    assert exact([largest] * 30).mean(30) == largest
    assert exact([smallest] * 30).value() == 30 * smallest


def test_infinite_values_are_counted_apart_and_taken_out_again() -> None:
    total = exact([1.5, math.inf, 2.5])
    assert total.value() == math.inf
    assert not total.finite
    total.add([-math.inf])
    assert math.isnan(total.value())
    total.subtract([math.inf, -math.inf])
    assert total.value() == 4.0
    assert total.finite


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        exact([1.0, math.nan])


@REPEATABLE
@given(st.lists(FINITE, max_size=20), st.lists(FINITE, max_size=20))
def test_subtracting_undoes_adding(kept: list[float], removed: list[float]) -> None:
    total = exact(kept + removed)
    total.subtract(removed)
    assert total == exact(kept)


@REPEATABLE
@given(st.lists(st.floats(allow_nan=False), max_size=20))
def test_wire_round_trip_through_json(values: list[float]) -> None:
    total = exact(values)
    wire = msgspec.json.decode(msgspec.json.encode(total.to_wire()), type=SumWire)
    again = ExactSum.from_wire(wire)
    assert again == total
    assert again.to_wire() == total.to_wire()


@pytest.mark.parametrize("wire", [("xyz", 0, 0, 0), ("1", 10**9, 0, 0), ("f" * 2000, 0, 0, 0)])
def test_a_damaged_wire_form_is_refused(wire: SumWire) -> None:
    with pytest.raises(ValueError, match="not an exact sum"):
        ExactSum.from_wire(wire)


def test_copy_is_independent_and_empty_is_zero() -> None:
    total = exact([1.0])
    twin = total.copy()
    twin.add([2.0])
    assert (total.value(), twin.value(), ExactSum().value()) == (1.0, 3.0, 0.0)
    assert exact([]) == ExactSum()


@REPEATABLE
@given(st.integers(-(2**3000), 2**3000), st.integers(1, 10**6))
def test_division_is_rounded_once(units: int, divisor: int) -> None:
    value = units_to_float(units, divisor=divisor)
    true = Fraction(units, divisor * 2**1074)
    if math.isfinite(value):
        assert value == float(true)
    else:
        assert abs(true) >= Fraction(sys.float_info.max)
