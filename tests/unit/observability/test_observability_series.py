from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from prometheus_client import CollectorRegistry, Histogram

from driftloop.observability.series import BatchHistogram, BoundedCounter, BoundedGauge, SeriesBudget

BOUNDS = (0.5, 1.0, 2.0, 10.0)


def samples(registry: CollectorRegistry, prefix: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith("_created")
    }


def test_label_sets_over_the_limit_are_dropped_and_counted() -> None:
    registry = CollectorRegistry()
    budget = SeriesBudget(registry, 3)
    counter = BoundedCounter("seen_total", "Seen.", ["who"], registry, budget)
    for who in ("a", "b", "c", "d", "e", "a", "d"):
        counter.add((who,))
    assert registry.get_sample_value("seen_total", {"who": "a"}) == 2
    assert registry.get_sample_value("seen_total", {"who": "c"}) == 1
    assert registry.get_sample_value("seen_total", {"who": "d"}) is None
    assert registry.get_sample_value("driftloop_series_dropped_total", {"metric": "seen_total"}) == 3


def test_a_replaced_group_gives_its_room_back() -> None:
    registry = CollectorRegistry()
    budget = SeriesBudget(registry, 2)
    gauge = BoundedGauge("shown", "Shown.", ["model", "feature"], registry, budget)
    gauge.replace(("m",), {("m", "a"): 1.0, ("m", "b"): 2.0})
    gauge.replace(("m",), {("m", "b"): 3.0, ("m", "c"): 4.0})
    assert registry.get_sample_value("shown", {"model": "m", "feature": "a"}) is None
    assert registry.get_sample_value("shown", {"model": "m", "feature": "b"}) == 3.0
    assert registry.get_sample_value("shown", {"model": "m", "feature": "c"}) == 4.0
    assert budget.used == 2
    gauge.forget(("m",))
    assert budget.used == 0
    assert samples(registry, "shown") == {}


def test_forget_takes_whole_groups_only() -> None:
    registry = CollectorRegistry()
    gauge = BoundedGauge("shown", "Shown.", ["model", "version"], registry, SeriesBudget(registry, 10))
    gauge.set(("m", "v1"), 1.0)
    gauge.set(("m", "v10"), 2.0)
    gauge.forget(("m", "v1"))
    assert registry.get_sample_value("shown", {"model": "m", "version": "v1"}) is None
    assert registry.get_sample_value("shown", {"model": "m", "version": "v10"}) == 2.0


@given(
    values=npst.arrays(
        np.float64, st.integers(0, 50), elements=st.sampled_from([0.0, 0.5, 0.7, 1.0, 1.5, 2.0, 9.0, 10.0, 11.0, 1e9])
    ),
    split=st.integers(0, 50),
)
def test_batches_give_what_prometheus_client_gives_value_by_value(values: np.ndarray, split: int) -> None:
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    reference = Histogram("h_seconds", "H.", ["topic"], buckets=BOUNDS, registry=theirs)
    reference.labels("t")
    for value in values:
        reference.labels("t").observe(value)
    histogram = BatchHistogram("h_seconds", "H.", ["topic"], BOUNDS, ours, SeriesBudget(ours, 10))
    histogram.observe(("t",), values[:split])
    histogram.observe(("t",), values[split:])
    expected, got = samples(theirs, "h_seconds"), samples(ours, "h_seconds")
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        assert got[key] == pytest.approx(value, rel=1e-12)


def test_values_that_are_not_finite_do_not_spoil_a_histogram() -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("h_seconds", "H.", ["topic"], BOUNDS, registry, SeriesBudget(registry, 10))
    histogram.observe(("t",), [1.0, float("nan"), float("inf")])
    assert registry.get_sample_value("h_seconds_count", {"topic": "t"}) == 1
    assert registry.get_sample_value("h_seconds_sum", {"topic": "t"}) == 1.0


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_bounds_must_ascend(bounds: tuple[float, ...]) -> None:
    registry = CollectorRegistry()
    with pytest.raises(ValueError, match="h_seconds: bounds must be finite, ascending and distinct"):
        BatchHistogram("h_seconds", "H.", ["topic"], bounds, registry, SeriesBudget(registry, 10))
