"""Intervals hold the true value about as often as they say, and equal the textbook's where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from driftloop.performance.intervals import normal_interval, wilson_interval, z_value
from driftloop.performance.pointwise import evaluate
from driftloop.performance.ranking import auc_interval, roc_auc
from driftloop.spec.basics import Task
from driftloop.spec.metrics import TASK_METRICS

Sample = tuple[NDArray[np.float64], NDArray[np.int64] | NDArray[np.float64]]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "rows"), [(0, 7), (3, 7), (7, 7), (412, 1000)])
def test_wilson_equals_scipy(hits: int, rows: int, confidence: float) -> None:
    expected = stats.binomtest(hits, rows).proportion_ci(confidence, method="wilson")
    assert wilson_interval(hits / rows, rows, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_normal_interval_of_a_mean() -> None:
    assert z_value(0.95) == pytest.approx(stats.norm.ppf(0.975), abs=1e-11)
    assert normal_interval(2.0, 4.0, 100, 0.95) == pytest.approx((2 - 0.391993, 2 + 0.391993), abs=1e-6)
    assert normal_interval(2.0, 4.0, 1, 0.95) == (None, None)
    with pytest.raises(ValueError, match="confidence"):
        z_value(1.0)


def test_delong_variance_by_its_definition() -> None:
    rng = np.random.default_rng(4)
    positive, negative = rng.integers(0, 12, 40) + 3, rng.integers(0, 12, 60)
    histograms = [np.bincount(values, minlength=16).astype(np.int64) for values in (positive, negative)]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    auc = wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / 40 + wins.mean(axis=0).var(ddof=1) / 60
    assert roc_auc(*histograms) == pytest.approx(auc, abs=1e-14)
    expected = wilson_interval(auc, auc * (1 - auc) / variance, 0.9)
    assert auc_interval(*histograms, 0.9) == pytest.approx(expected, abs=1e-12)


def sample(task: Task, rng: np.random.Generator, rows: int) -> Sample:
    if task == "binary":
        scores = rng.beta(0.8, 2.0, rows)
        return scores, (rng.random(rows) < 0.05 + 0.7 * scores).astype(np.int64)
    if task == "regression":
        labels = rng.normal(30.0, 4.0, rows)
        return labels + rng.laplace(1.0, 2.0, rows), labels
    probabilities = rng.dirichlet([1.0, 2.0, 3.0], rows)
    return probabilities, (rng.random(rows)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1).clip(0, 2)


#: The within-group term has no interval, and the limits of the largest error speak of these rows alone.
WITHOUT_COVERAGE = {"brier_within", "max_error"}


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_intervals_cover_the_truth(task: Task) -> None:
    rng = np.random.default_rng(11)
    names = [*(set(TASK_METRICS[task]) - WITHOUT_COVERAGE)]
    if task == "regression":
        names += ["pinball_0.9", "absolute_error_0.9", "error_0.1"]
    truth = evaluate(task, *sample(task, rng, 1_000_000), ("a", "b", "c"), names=names)
    runs = 300
    covered = dict.fromkeys(truth, 0)
    for _ in range(runs):
        for metric, found in evaluate(task, *sample(task, rng, 250), ("a", "b", "c"), names=names).items():
            value = truth[metric].value
            assert found.low is not None, metric
            assert found.high is not None
            assert found.value is not None
            assert found.low <= found.value <= found.high
            assert value is not None
            covered[metric] += found.low <= value <= found.high
    # Nominal 0.95, three standard errors of 300 runs are 0.038; squares of heavy tails come in a little below.
    shares = {metric: count / runs for metric, count in covered.items()}
    print(dict(sorted(shares.items(), key=lambda item: item[1])))
    assert min(shares.values()) >= 0.9, shares
