"""Outcome metrics and intervals against Evidently and statsmodels (golden values, made by make_outcomes.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftloop.performance.confusion import Confusion
from driftloop.performance.intervals import difference_interval, wilson_interval
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.pointwise import evaluate

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_outcomes.json").read_text(encoding="utf-8"))


def test_regression_metrics_are_evidentlys() -> None:
    golden = GOLDEN["regression"]
    names = ["mae", "mape", "rmse", "r2", "max_error", "bias"]
    found = evaluate("regression", np.array(golden["predictions"]), np.array(golden["labels"]), names=names)
    peer = golden["evidently"]
    for name in ("mae", "rmse", "r2"):
        assert found[name].value == pytest.approx(peer[name], rel=1e-9), name
    assert found["mape"].value == pytest.approx(peer["mape_percent"] / 100, rel=1e-9)
    assert found["bias"].value == pytest.approx(peer["mean_error"], rel=1e-9)
    assert found["max_error"].low is not None
    assert found["max_error"].high is not None
    assert found["max_error"].low <= peer["max_error"] <= found["max_error"].high


def test_binary_metrics_are_evidentlys() -> None:
    golden = GOLDEN["binary"]
    stats = OutcomeStats("binary", decision_threshold=golden["threshold"], exact_rows=1000)
    scores, labels = np.array(golden["scores"]), np.array(golden["labels"])
    stats.update(scores, labels, np.zeros(len(labels), np.int64))
    found = stats.metrics(names=list(golden["evidently"]))
    for name, value in golden["evidently"].items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name


def test_multiclass_metrics_are_evidentlys() -> None:
    golden = GOLDEN["multiclass"]
    found = evaluate("multiclass", np.array(golden["probabilities"]), np.array(golden["labels"]), ("a", "b", "c"))
    for name, value in golden["evidently"].items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name


def test_ranking_metrics_are_evidentlys() -> None:
    golden = GOLDEN["ranking"]
    stats = OutcomeStats("ranking", cutoffs=(3, 8))
    gains = [dict.fromkeys(items, 1.0) for items in golden["relevant"]]
    stats.update(golden["lists"], gains, np.zeros(len(gains), np.int64))
    found = stats.metrics()
    for name in ("ndcg_3", "hit_rate_3", "precision_3", "recall_3"):
        assert found[name].value == pytest.approx(golden["evidently"][name], rel=1e-9), name
    assert found["mrr"].value == pytest.approx(golden["evidently"]["mrr_8"], rel=1e-9)


def test_average_precision_differs_from_evidentlys_in_its_divisor_alone() -> None:
    """Evidently divides by the number of relevant items, of which more than k cannot be among the first k."""
    golden = GOLDEN["ranking"]
    ours, theirs = [], []
    for items, relevant in zip(golden["lists"], golden["relevant"], strict=True):
        found = [place for place, item in enumerate(items[:3], 1) if item in relevant]
        total = sum(rank / place for rank, place in enumerate(found, 1))
        ours.append(total / min(3, len(relevant)))
        theirs.append(total / len(relevant))
    stats = OutcomeStats("ranking", cutoffs=(3,))
    stats.update(
        golden["lists"],
        [dict.fromkeys(items, 1.0) for items in golden["relevant"]],
        np.zeros(len(ours), np.int64),
    )
    assert stats.metrics()["map_3"].value == pytest.approx(np.mean(ours), rel=1e-9)
    assert golden["evidently"]["map_3"] == pytest.approx(np.mean(theirs), rel=1e-9)


def test_intervals_are_those_of_statsmodels() -> None:
    for hits, rows, low, high in GOLDEN["intervals"]["wilson"]:
        assert wilson_interval(hits / rows, rows, 0.9) == pytest.approx((low, high), abs=1e-9)
    for a, n, b, m, low, high in GOLDEN["intervals"]["newcombe"]:
        first, second = ((hits / rows, *wilson_interval(hits / rows, rows, 0.95)) for hits, rows in ((a, n), (b, m)))
        assert difference_interval(first, second) == pytest.approx((low, high), abs=1e-9)
    for case in GOLDEN["intervals"]["kappa"]:
        found = Confusion(np.array(case["matrix"], np.int64)).kappa()
        assert found == pytest.approx((case["kappa"], case["variance"]), rel=1e-9)
