"""Ranking metrics against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.ranked_lists import row_scores

NAMES = ["mrr", "ndcg_3", "map_3", "precision_3", "recall_3", "hit_rate_3"]


def stats_of(rows: list[tuple[list[str], dict[str, float]]], cutoffs: tuple[int, ...] = (3,)) -> OutcomeStats:
    stats = OutcomeStats("ranking", cutoffs=cutoffs)
    stats.add_predicted(len(rows))
    stats.update([items for items, _ in rows], [gains for _, gains in rows], np.zeros(len(rows), np.int64))
    return stats


def test_numbers_worked_out_by_hand() -> None:
    found = stats_of([(["a", "b", "c", "d"], {"b": 1.0, "d": 1.0}), (["x", "y"], {"x": 1.0})]).metrics()
    assert list(found) == NAMES
    assert found["mrr"].value == pytest.approx((1 / 2 + 1) / 2)
    assert found["precision_3"].value == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert found["recall_3"].value == pytest.approx((1 / 2 + 1) / 2)
    assert found["hit_rate_3"].value == 1.0
    assert found["map_3"].value == pytest.approx((1 / 2 / 2 + 1) / 2)
    ideal = 1 + 1 / np.log2(3)
    assert found["ndcg_3"].value == pytest.approx((1 / np.log2(3) / ideal + 1) / 2, abs=1e-12)


@pytest.mark.parametrize("cutoff", [1, 4, 10])
def test_ndcg_equals_scikit_learn(cutoff: int) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        scores = rng.permutation(10).astype(float)
        gains = rng.integers(0, 4, 10).astype(float)
        if not gains.any():
            continue
        items = [str(item) for item in np.argsort(-scores)]
        found = row_scores(items, {str(item): gain for item, gain in enumerate(gains)}, [cutoff])
        assert found is not None
        assert found[1] == pytest.approx(sk.ndcg_score([gains], [scores], k=cutoff), abs=1e-12)


def test_average_precision_and_reciprocal_rank_equal_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        scores = rng.permutation(12).astype(float)
        relevant = rng.random(12) < 0.4
        if not relevant.any():
            continue
        items = [str(item) for item in np.argsort(-scores)]
        found = row_scores(items, {str(item): 1.0 for item in np.flatnonzero(relevant)}, [12])
        assert found is not None
        assert found[2] == pytest.approx(sk.average_precision_score(relevant, scores), abs=1e-12)


def test_rows_without_a_relevant_item_count_in_no_metric() -> None:
    stats = stats_of([(["a"], {}), (["a"], {"a": 0.0}), ([], {"a": 1.0})])
    assert stats.labeled == 3
    assert {(metric.value, metric.rows) for metric in stats.metrics().values()} == {(0.0, 1)}
    assert all(metric.value is None for metric in stats_of([(["a"], {})]).metrics().values())
    assert stats.confusion is None


@pytest.mark.parametrize(
    ("items", "gains", "message"), [(["a", "a"], {"a": 1.0}, "twice"), (["a"], {"a": -1.0}, "from 0 on")]
)
def test_bad_rows_are_refused_before_anything_is_counted(items: Any, gains: Any, message: str) -> None:
    stats = OutcomeStats("ranking")
    with pytest.raises(ValueError, match=message):
        stats.update([["b"], items], [{"b": 1.0}, gains], np.zeros(2, np.int64))
    assert stats == OutcomeStats("ranking")
    with pytest.raises(ValueError, match="cutoffs are whole numbers"):
        OutcomeStats("ranking", cutoffs=(0,))


def test_gains_may_be_huge_and_intervals_cover() -> None:
    assert row_scores(["a", "b"], {"a": 1e308, "b": 1e308}, [2]) == [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        rows = [([str(i) for i in rng.permutation(5)], {"0": 1.0}) for _ in range(80)]
        found = stats_of(rows).metrics(names=["hit_rate_3"])["hit_rate_3"]
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.6 <= found.high
    assert 0.9 <= covered / 200 <= 1.0
