"""Counts on and between anchors, moments, and that no split of the data changes a bit."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftloop.profiles.anchors import OFFSET_ONE, NumericReference
from driftloop.profiles.numeric import NumericSummary, NumericWire

REPEATABLE = settings(derandomize=True, deadline=None)
pytestmark = pytest.mark.filterwarnings("error")  # no overflow or invalid operation goes unnoticed

ANY_FLOAT = st.one_of(
    st.floats(), st.sampled_from([0.0, -0.0, 1.0, 1e308, -1e308, math.inf, -math.inf, math.nan, 5e-324, 0.1])
)


def summary_of(reference: NumericReference, *batches: Sequence[float] | NDArray[np.float64]) -> NumericSummary:
    summary = NumericSummary(reference)
    for batch in batches:
        summary.update(np.array(batch, dtype=np.float64))
    return summary


def test_counts_by_position() -> None:
    reference = NumericReference.build(np.array([3.0, 1.0, 2.0, 2.0, math.nan, math.inf]))
    assert reference.anchors == [1.0, 2.0, 3.0]
    assert reference.counts == [0, 1, 0, 2, 0, 1, 0]
    assert (reference.rows, reference.missing, reference.infinite, reference.exact) == (4, 1, 1, True)
    summary = summary_of(reference, [0.0, 1.0, 1.25, 1.75, 2.0, 2.0, 9.0, math.nan, -math.inf])
    assert summary.counts.tolist() == [1, 1, 2, 2, 0, 0, 1]
    assert summary.offsets.tolist() == [OFFSET_ONE, 0]
    assert (summary.below, summary.above) == (1.0, 6.0)
    assert (summary.rows, summary.missing, summary.infinite) == (7, 1, 1)
    assert (summary.minimum, summary.maximum) == (0.0, 9.0)


@REPEATABLE
@given(
    st.lists(ANY_FLOAT, max_size=30),
    st.lists(ANY_FLOAT, max_size=40),
    st.integers(2, 8),
    st.randoms(use_true_random=False),
)
def test_any_split_and_merge_order_gives_the_same_bytes(
    reference_values: list[float], values: list[float], max_anchors: int, random: object
) -> None:
    reference = NumericReference.build(np.array(reference_values), max_anchors)
    whole = summary_of(reference, values)
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    parts = [summary_of(reference, shuffled[start::3]) for start in range(3)]
    split = summary_of(reference)
    for part in parts:
        _ = part.rows  # folds one by one
        split.merge(part.copy())
    grouped = parts[1].copy()
    grouped.merge(parts[2])
    grouped.merge(parts[0])
    encoded = msgspec.json.encode(whole.to_wire())
    assert msgspec.json.encode(split.to_wire()) == encoded
    assert msgspec.json.encode(grouped.to_wire()) == encoded
    again = NumericSummary.from_wire(msgspec.json.decode(encoded, type=NumericWire), reference)
    assert again == whole
    again.merge(parts[0])
    for value in (again.mean(), again.variance(), again.std(), again.minimum, again.maximum):
        assert value is None or math.isfinite(value)
    assert whole.rows + whole.missing + whole.infinite == len(values)


@pytest.mark.parametrize("size", [10, 8192, 30_000])
def test_moments_agree_with_numpy(size: int) -> None:
    random = np.random.default_rng(size)
    reference = NumericReference.build(random.normal(1e6, 3.0, 5_000))
    values = random.normal(1e6 + 50, 2.0, size)
    summary = summary_of(reference, values)
    assert summary.mean() == math.fsum(values) / size
    assert summary.variance() == pytest.approx(np.var(values, ddof=1), rel=1e-9)
    assert len(reference.anchors) == 512
    assert not reference.exact
    assert reference.std == pytest.approx(3.0, rel=0.05)
    assert (reference.anchors[0], reference.anchors[-1]) == (reference.minimum, reference.maximum)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-5, 1e200, 1e307])
def test_spread_at_any_magnitude(scale: float) -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0]) * scale
    reference = NumericReference.build(values)
    expected = math.sqrt(5 / 3) * scale
    assert reference.std == pytest.approx(expected, rel=1e-3)
    assert summary_of(reference, values).std() == pytest.approx(expected, rel=1e-9 if scale > 1e-300 else 1e-3)


def test_constant_values_have_no_spread() -> None:
    reference = NumericReference.build(np.full(100, 0.1))
    assert (reference.std, reference.mean, reference.anchors) == (0.0, 0.1, [0.1])
    summary = summary_of(reference, [0.3] * 7)
    assert summary.variance() == 0.0
    assert summary_of(reference, [0.3]).variance() is None


def test_a_range_beyond_float64_is_still_placed() -> None:
    largest = sys.float_info.max
    reference = NumericReference.build(np.array([-largest, largest]))
    assert reference.std <= largest
    summary = summary_of(reference, [0.0, largest / 2, -largest])
    assert summary.counts.tolist() == [0, 1, 2, 0, 0]
    assert summary.offsets.tolist() == [OFFSET_ONE // 2 + 3 * OFFSET_ONE // 4]
    dense = NumericReference.build(np.array([-largest, 0.0, 5e-324, largest]))
    assert summary_of(dense, [0.0, 5e-324, 1.0]).offsets.tolist() == [0, 0, 0]


def test_empty_and_all_missing_references() -> None:
    for values in ([], [math.nan, math.nan], [math.inf]):
        reference = NumericReference.build(np.array(values, dtype=np.float64))
        assert (reference.rows, reference.mean, reference.std, reference.counts) == (0, None, 0.0, [0])
        summary = summary_of(reference, [1.0, 2.0, math.nan])
        assert (summary.rows, summary.missing, summary.mean()) == (2, 1, 1.5)


def test_the_caller_may_reuse_its_array() -> None:
    reference = NumericReference.build(np.arange(5.0))
    values = np.array([1.0, 2.0])
    summary = NumericSummary(reference)
    summary.update(values)
    values[:] = 4.0
    assert summary.counts.tolist()[3:6] == [1, 0, 1]


def test_a_copy_is_independent() -> None:
    reference = NumericReference.build(np.arange(5.0))
    summary = summary_of(reference, [1.0])
    twin = summary.copy()
    twin.update(np.array([2.0, math.nan]))
    assert (summary.rows, summary.missing, twin.rows, twin.missing) == (1, 0, 2, 1)


def test_a_wire_form_of_another_reference_is_refused() -> None:
    small, large = NumericReference.build(np.arange(2.0)), NumericReference.build(np.arange(50.0))
    wire = summary_of(large, [10.0, 20.5]).to_wire()
    with pytest.raises(ValueError, match="another one"):
        NumericSummary.from_wire(wire, small)
    with pytest.raises(ValueError, match="different references"):
        summary_of(small).merge(summary_of(large))
