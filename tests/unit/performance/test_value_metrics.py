"""What decisions are worth: the cost matrix, weights, and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftloop.performance.outcomes import OutcomeStats
from driftloop.spec.model import ValueSpec

PRICES = {"tp": 10.0, "fp": -2.0, "fn": -50.0, "tn": 0.25}


def sample(rows: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(2)
    return rng.random(rows), rng.integers(0, 2, rows), rng.lognormal(3.0, 1.0, rows)


def worth(scores: Any, labels: Any, weights: Any) -> Any:
    price = np.where(scores >= 0.5, np.where(labels == 1, 10.0, -2.0), np.where(labels == 1, -50.0, 0.25))
    return price * weights


@pytest.mark.parametrize("column", [None, "amount"])
def test_value_is_the_sum_of_prices_times_weights(column: str | None) -> None:
    scores, labels, weights = sample(500)
    weights = weights if column else np.ones(500)
    stats = OutcomeStats("binary", value=ValueSpec(**PRICES, column=column))
    stats.update(scores, labels, np.zeros(500, np.int64), weights=weights if column else None)
    found = stats.metrics(names=["value", "mean_value"])
    values = worth(scores, labels, weights)
    half = 1.959963984540054 * values.std(ddof=1) / np.sqrt(500)
    assert found["value"].value == pytest.approx(values.sum(), rel=1e-12)
    assert found["mean_value"].value == pytest.approx(values.mean(), rel=1e-12)
    assert found["mean_value"].low == pytest.approx(values.mean() - half, rel=1e-9)
    assert found["value"].high == pytest.approx((values.mean() + half) * 500, rel=1e-9)


def test_rows_of_unknown_weight_count_for_nothing() -> None:
    scores, labels, weights = sample(60)
    weights[:10] = np.nan
    weights[10] = np.inf
    stats = OutcomeStats("binary", value=ValueSpec(**PRICES, column="amount"))
    stats.update(scores, labels, np.zeros(60, np.int64), weights=weights)
    found = stats.metrics(names=["value", "accuracy"])
    assert found["value"].value == pytest.approx(worth(scores, labels, weights)[11:].sum(), rel=1e-12)
    assert (found["value"].rows, found["accuracy"].rows) == (49, 60)
    huge = OutcomeStats("binary", value=ValueSpec(tp=1e300, column="amount"))
    huge.update(np.ones(2), np.ones(2, np.int64), np.zeros(2, np.int64), weights=np.array([1e300, 1.0]))
    assert huge.metrics(names=["value"])["value"].value is None


def test_prices_are_no_part_of_the_sums_but_the_column_is() -> None:
    scores, labels, weights = sample(40)
    delays = np.zeros(40, np.int64)
    one = OutcomeStats("binary", value=ValueSpec(tp=1.0, column="amount"))
    one.update(scores, labels, delays, weights=weights)
    two = OutcomeStats.decode(one.encode(), OutcomeStats("binary", value=ValueSpec(tp=2.0, column="amount")))
    assert two.metrics(names=["value"])["value"].value == 2.0 * one.metrics(names=["value"])["value"].value  # type: ignore[operator]
    with pytest.raises(ValueError, match="spec has changed"):
        OutcomeStats.decode(one.encode(), OutcomeStats("binary", value=ValueSpec(tp=1.0, column="price")))
    before = one.encode()
    with pytest.raises(ValueError, match="needs its weight"):
        one.update(scores, labels, delays)
    with pytest.raises(ValueError, match="one weight for each row"):
        one.update(scores, labels, delays, weights=weights[:3])
    assert one.encode() == before
    assert OutcomeStats("binary").metrics(names=["value"])["value"].value is None
