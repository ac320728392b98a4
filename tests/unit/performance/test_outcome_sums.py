"""The same bits in any order and any split; corrections leave no trace; the wire form says everything."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftloop.performance.bounded_sums import BoundedSums
from driftloop.performance.delays import DelayHistogram
from driftloop.performance.exact_rows import add_rows
from driftloop.performance.logarithm import natural_log
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.sparse import load_sparse
from driftloop.profiles.exact import ExactSum
from driftloop.spec.basics import Task

CLASSES = ("a", "b", "c")
TASKS: list[Task] = ["binary", "regression", "multiclass"]


def empty(task: Task) -> OutcomeStats:
    return OutcomeStats(task, CLASSES, decision_threshold=0.4, center=3.0)


def rows(task: Task, seed: int, count: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    delays = rng.integers(-5_000, 10**10, count)
    if task == "binary":
        return rng.beta(0.3, 0.6, count), rng.integers(0, 2, count), delays
    if task == "regression":
        spread = 10.0 ** rng.integers(-9, 9, count)
        return rng.normal(size=count) * spread, rng.normal(3.0, 30.0, count), delays
    return rng.dirichlet([0.3, 1.0, 2.0], count), rng.integers(0, 3, count), delays


def take(data: tuple[Any, Any, Any], index: Any) -> tuple[Any, Any, Any]:
    return data[0][index], data[1][index], data[2][index]


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 120), cuts=st.lists(st.integers(0, 120), max_size=6))
def test_any_split_order_and_merge_gives_the_same_bytes(task: Task, seed: int, count: int, cuts: list[int]) -> None:
    data = rows(task, seed, count)
    whole = empty(task)
    whole.add_predicted(2 * count)
    whole.update(*data)
    shuffled = np.random.default_rng(seed + 1).permutation(count)
    parts = np.split(shuffled, sorted(min(cut, count) for cut in cuts))
    others = []
    for part in parts:
        stats = empty(task)
        stats.update(*take(data, part))
        others.append(stats)
    total = empty(task)
    total.add_predicted(2 * count)
    for stats in reversed(others):
        total.merge(OutcomeStats.decode(stats.encode(), empty(task)))
    assert total == whole
    assert total.encode() == whole.encode()
    assert total.metrics() == whole.metrics()


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 60))
def test_a_correction_is_as_if_the_first_label_had_never_been(task: Task, seed: int, count: int) -> None:
    data = rows(task, seed, count)
    corrected = (data[0], rows(task, seed + 7, count)[1], data[2] + 1000)
    half = np.arange(count // 2)
    stats = empty(task)
    stats.update(*data)
    stats.update(*take(data, half), sign=-1)
    stats.update(*take(corrected, half))
    expected = empty(task)
    expected.update(*take(corrected, half))
    expected.update(*take(data, np.arange(count // 2, count)))
    assert stats == expected
    assert stats.encode() == expected.encode()
    stats.update(*take(corrected, half), sign=-1)
    stats.update(*take(data, np.arange(count // 2, count)), sign=-1)
    assert stats == empty(task)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_corrections_alone_have_no_metrics_until_merged(task: Task) -> None:
    data = rows(task, 5, 20)
    first = empty(task)
    first.update(*data)
    late = empty(task)
    late.update(*take(data, slice(0, 3)), sign=-1)
    late.update(*take(rows(task, 6, 5), slice(0, 5)))
    late = OutcomeStats.decode(late.encode(), empty(task))
    assert all(value.value is None for value in late.metrics().values())
    first.merge(late)
    assert first.labeled == 22
    assert all(value.rows == 22 for value in first.metrics().values())


def test_a_copy_is_independent() -> None:
    for task in TASKS:
        stats = empty(task)
        stats.update(*rows(task, 1, 10))
        twin = stats.copy()
        assert twin == stats
        twin.update(*rows(task, 2, 10))
        twin.add_predicted(1)
        assert twin != stats
        assert stats.labeled == 10


def test_other_settings_do_not_merge_or_decode() -> None:
    with pytest.raises(ValueError, match="different settings"):
        empty("binary").merge(OutcomeStats("binary", decision_threshold=0.9))
    with pytest.raises(ValueError, match="spec has changed"):
        OutcomeStats.decode(empty("regression").encode(), OutcomeStats("regression"))
    with pytest.raises(ValueError, match="not outcome statistics"):
        OutcomeStats.decode(b"{}", empty("binary"))
    damaged = empty("binary").encode().replace(b'"confusion":[0,0,0,0]', b'"confusion":[0,0]')
    with pytest.raises(ValueError, match="damaged outcome statistics"):
        OutcomeStats.decode(damaged, empty("binary"))
    with pytest.raises(ValueError, match="task must be one of"):
        OutcomeStats("clustering")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        OutcomeStats("regression", center=math.nan)
    with pytest.raises(ValueError, match="two classes"):
        OutcomeStats("multiclass", ["a"])


def test_coverage_counts_predictions_without_label() -> None:
    stats = empty("binary")
    stats.add_predicted(40)
    stats.update(*rows("binary", 1, 10))
    assert stats.coverage == 0.25


@given(st.lists(st.integers(0, 2**43 - 1), min_size=1, max_size=80), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
@settings(max_examples=80, deadline=None)
@example([0], 0.5)
@example([31, 32, 33, 63, 64, 65], 0.5)
def test_delay_quantiles_are_right_within_their_bins(delays: list[int], q: float) -> None:
    histogram = DelayHistogram()
    histogram.add(np.array(delays, np.int64), 1)
    exact = int(np.quantile(np.array(delays, np.int64), q, method="inverted_cdf"))
    found = histogram.quantile_ms(q)
    assert found is not None
    assert abs(found - exact) <= exact / 63 + 0.5


def test_delays_out_of_range_are_clipped() -> None:
    histogram = DelayHistogram()
    histogram.add(np.array([-(10**15), 10**18], np.int64), 1)
    assert histogram.quantile_ms(0.5) == 0
    assert histogram.quantile_ms(1.0) == pytest.approx(2**43, rel=0.02)
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.quantile_ms(1.5)


@given(st.lists(st.floats(min_value=2.3e-308, max_value=1.7e308, allow_subnormal=False), min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
@example([1.0, 1.0 - 2**-53, 2.0**-52, 1.0 - 2.0**-52, 0.7071067811865476, 0.5])
def test_natural_log_is_within_two_units_in_the_last_place(values: list[float]) -> None:
    found = natural_log(np.array(values))
    for value, log in zip(values, found.tolist(), strict=True):
        expected = math.log(value)
        assert abs(log - expected) <= 2 * math.ulp(expected)


def test_natural_log_does_not_depend_on_neighbours() -> None:
    values = np.random.default_rng(3).random(1001)
    whole = natural_log(values)
    assert all(natural_log(values[i : i + 1])[0] == whole[i] for i in range(0, 1001, 13))


@given(st.integers(0, 2**32), st.integers(1, 200), st.booleans())
@settings(max_examples=60, deadline=None)
def test_rows_of_sums_equal_exact_sums(seed: int, columns: int, infinite: bool) -> None:
    rng = np.random.default_rng(seed)
    terms = rng.normal(size=(3, columns)) * 10.0 ** rng.integers(-290, 260, (3, columns))
    terms[1] = 0.0
    terms[2] = np.ldexp(terms[2], -60)
    if infinite:
        terms[0, 0], terms[2, -1] = np.inf, 1e308
    sums, expected = [ExactSum(), ExactSum(), ExactSum()], [ExactSum(), ExactSum(), ExactSum()]
    for total, values in zip(expected, terms, strict=True):
        total.add(values)
    add_rows(sums, terms.copy(), 1)
    assert sums == expected
    add_rows(sums, terms.copy(), -1)
    assert sums == [ExactSum(), ExactSum(), ExactSum()]


def test_bounded_sums_have_the_mean_and_variance_of_their_terms() -> None:
    values = np.random.default_rng(1).random(1000) * 30
    sums = BoundedSums(2)
    sums.add(np.stack((values, values * values)), 1)
    assert sums.mean(0, 1000) == pytest.approx(values.mean(), rel=1e-14)
    assert sums.variance(0, 1, 1000) == pytest.approx(values.var(ddof=1), rel=1e-12)
    with pytest.raises(ValueError, match="expected 2 sums"):
        sums.load(["1"])


@pytest.mark.parametrize("wire", [None, [[1], []], [[5], [1]], [[1, 0], [1, 1]], [[-1], [1]]])
def test_damaged_sparse_counts_are_refused(wire: object) -> None:
    with pytest.raises(ValueError, match="sparse counts"):
        load_sparse(wire, 5)
