"""Regression metrics beside the squares: against scikit-learn, and the histogram of errors against exact quantiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.pointwise import evaluate
from driftloop.performance.relative_histogram import RELATIVE_ERROR, RelativeHistogram

NAMES = ["mse", "msle", "mape", "smape", "explained_variance", "max_error", "median_absolute_error"]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("rows", "scale"), [(2, 1.0), (60, 1e-9), (3000, 1.0), (300, 1e6)])
def test_errors_equal_scikit_learn(seed: int, rows: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.lognormal(0.0, 1.0, rows) * scale
    predictions = labels * rng.lognormal(0.1, 0.4, rows)
    found = evaluate("regression", predictions, labels, names=[*NAMES, "pinball_0.9", "pinball_0.1"])
    expected = {
        "mse": sk.mean_squared_error(labels, predictions),
        "msle": sk.mean_squared_log_error(labels, predictions),
        "mape": sk.mean_absolute_percentage_error(labels, predictions),
        "smape": float(np.mean(2 * abs(labels - predictions) / (abs(labels) + abs(predictions)))),
        "explained_variance": sk.explained_variance_score(labels, predictions),
        "pinball_0.9": sk.mean_pinball_loss(labels, predictions, alpha=0.9),
        "pinball_0.1": sk.mean_pinball_loss(labels, predictions, alpha=0.1),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name
    worst = found["max_error"]
    assert worst.value == pytest.approx(sk.max_error(labels, predictions), rel=RELATIVE_ERROR)
    assert worst.low is not None
    assert worst.high is not None
    assert worst.low <= sk.max_error(labels, predictions) <= worst.high


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9])
def test_quantiles_of_the_error_are_within_their_bound(q: float) -> None:
    rng = np.random.default_rng(8)
    labels = rng.normal(0.0, 5.0, 4001)
    predictions = labels + rng.standard_t(3, 4001) - 0.3
    error = predictions - labels
    found = evaluate("regression", predictions, labels, names=[f"error_{q}", f"absolute_error_{q}"])
    for name, values in ((f"error_{q}", error), (f"absolute_error_{q}", abs(error))):
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        metric = found[name]
        assert metric.value is not None
        assert metric.error_bound is not None
        assert abs(metric.value - exact) <= metric.error_bound
        assert metric.error_bound <= RELATIVE_ERROR * abs(metric.value) * (1 + 1e-12)


def test_what_is_undefined_is_none() -> None:
    negative = evaluate("regression", np.array([1.0, 2.0, -1.0]), np.array([1.0, 0.0, 3.0]), names=NAMES)
    assert negative["msle"].value is None
    assert negative["mape"].value == pytest.approx((0 + 4 / 3) / 2)  # the label 0 has no relative error
    assert negative["mape"].rows == 2
    zero = evaluate("regression", np.zeros(3), np.zeros(3), names=NAMES)
    assert zero["mape"].value is None
    assert zero["smape"].value == 0.0
    assert zero["explained_variance"].value is None
    assert zero["max_error"].value == 0.0
    huge = evaluate("regression", np.array([1e308, 1.0, 2.0]), np.array([-1e308, 0.0, 1.0]), names=NAMES)
    assert huge["max_error"].value is None
    assert huge["explained_variance"].value is None
    assert huge["smape"].value == pytest.approx((2 + 2 + 2 / 3) / 3)
    for name in NAMES:
        metric = evaluate("regression", np.array([1e-300, 3.0]), np.array([1e300, 5e-324]), names=NAMES)[name]
        assert all(number is None or math.isfinite(number) for number in (metric.value, metric.low, metric.high)), name


def test_sums_of_an_older_version_load_without_the_newer_parts() -> None:
    import msgspec

    stats = OutcomeStats("regression")
    stats.update(np.arange(30.0), np.arange(30.0) + 1.0, np.zeros(30, np.int64))
    wire = msgspec.json.decode(stats.encode())
    for name in ("errors", "log_rows", "share_rows", "ee", "e3", "ed", "ed2", "ape", "ape2", "log2", "log4"):
        del wire["sums"][name]
    old = OutcomeStats.decode(msgspec.json.encode(wire), OutcomeStats("regression"))
    assert old.metrics()["mae"] == stats.metrics()["mae"]
    assert old.metrics()["mape"].value is None
    old.merge(stats)
    assert old.metrics()["mae"].rows == 60
    assert old.metrics()["max_error"].value is None

    multi = OutcomeStats("multiclass", ("a", "b"))
    multi.update(np.array([[0.4, 0.6], [0.7, 0.3]]), np.array([1, 1]), np.zeros(2, np.int64))
    wire = msgspec.json.decode(multi.encode())
    wire["sums"] = {"bounded": wire["sums"]["bounded"][:2], "confusion": wire["sums"]["confusion"]}
    older = OutcomeStats.decode(msgspec.json.encode(wire), OutcomeStats("multiclass", ("a", "b")))
    assert older.metrics()["log_loss"] == multi.metrics()["log_loss"]
    assert older.metrics()["brier"].value is None


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(-1e30, 1e30, allow_nan=False), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.25, 0.5, 0.99, 1.0]),
)
@example([0.0, -0.0, 5e-324, -1e-40], 0.5)
@example([1.0, 2.0 - 2**-52, 2.0, -2.0, 1.015625], 0.5)
def test_histogram_quantiles_are_within_their_bound(values: list[float], q: float) -> None:
    histogram = RelativeHistogram()
    histogram.add(np.array(values), 1)
    for absolute in (False, True):
        numbers = np.abs(values) if absolute else np.array(values)
        exact = float(np.quantile(numbers, q, method="inverted_cdf"))
        found = histogram.quantile(q, absolute=absolute)
        assert found is not None
        assert abs(found[0] - exact) <= found[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40), st.integers(0, 40))
def test_histograms_merge_to_the_same_counts(values: list[float], cut: int) -> None:
    whole, left, right = RelativeHistogram(), RelativeHistogram(), RelativeHistogram()
    whole.add(np.array(values), 1)
    left.add(np.array(values[:cut]), 1)
    right.add(np.array(values[cut:]), 1)
    right.merge(left)
    assert right == whole
    assert right.to_wire() == whole.to_wire()
    again = RelativeHistogram()
    again.load(whole.to_wire())
    assert again == whole
    whole.add(np.array(values), -1)
    assert whole == RelativeHistogram()
    assert whole.quantile(0.5) is None
    assert whole.largest() is None


def test_extreme_values_are_clipped_into_the_outer_bins() -> None:
    histogram = RelativeHistogram()
    histogram.add(np.array([1e308, -1e308, 1e-300]), 1)
    largest: Any = histogram.quantile(1.0)
    assert largest[0] == pytest.approx(2.0**128, rel=0.01)
    assert histogram.quantile(0.5) == (0.0, 2.0**-128)
