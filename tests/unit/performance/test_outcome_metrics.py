"""Every realised metric against scikit-learn, and against numbers worked out by hand."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from driftloop.performance.metrics import METRIC_DIRECTION, TASK_METRICS
from driftloop.performance.outcomes import OutcomeStats
from driftloop.performance.pointwise import MEAN_METRICS, evaluate, row_values
from driftloop.performance.ranking import score_bins
from driftloop.spec.basics import Task

CLASSES = ("a", "b", "c", "d")


def log_loss(labels: Any, probabilities: Any, classes: int = 2) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(sk.log_loss(labels, probabilities, labels=list(range(classes))))


@pytest.fixture(params=[1, 2, 3])
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("rows", [2, 7, 40, 3000])
def test_binary_metrics_equal_scikit_learn(rng: np.random.Generator, rows: int) -> None:
    scores = rng.random(rows)
    scores[0], scores[-1] = 0.0, 1.0  # clipped in the log loss
    labels = (rng.random(rows) < scores).astype(np.int64)
    labels[0], labels[-1] = 1, 0
    found = evaluate("binary", scores, labels, decision_threshold=0.3)
    decisions = (scores >= 0.3).astype(int)
    expected = {
        "log_loss": log_loss(labels, scores),
        "accuracy": sk.accuracy_score(labels, decisions),
        "brier": sk.brier_score_loss(labels, scores),
        "base_rate": labels.mean(),
        "precision": sk.precision_score(labels, decisions, zero_division=np.nan),
        "recall": sk.recall_score(labels, decisions, zero_division=np.nan),
        "f1": sk.f1_score(labels, decisions, zero_division=np.nan),
        "mean_score": scores.mean(),
    }
    assert list(found) == list(TASK_METRICS["binary"])
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-12, abs=1e-12), name
        assert found[name].rows == rows


def test_roc_auc_is_exact_when_each_score_has_a_bin_of_its_own(rng: np.random.Generator) -> None:
    centres = (np.arange(1, 1023) + 0.5) / 1024
    scores = rng.choice(centres, 5000)
    labels = (rng.random(5000) < scores**2).astype(np.int64)
    found = evaluate("binary", scores, labels)["roc_auc"]
    assert found.value == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_roc_auc_of_any_score_is_within_its_bound_even_for_rare_events(rng: np.random.Generator, scale: float) -> None:
    # With bins of equal width alone, scores below 1/2048 would all tie and the area would be 0.5.
    scores = rng.beta(0.5, 2.0, 4000) * scale
    labels = (rng.random(4000) < scores / scale).astype(np.int64)
    stats = OutcomeStats("binary")
    stats.update(scores, labels, np.zeros(4000, np.int64))
    value, bound = stats.metrics()["roc_auc"].value, stats.auc_error_bound
    assert value is not None
    assert bound is not None
    assert abs(value - sk.roc_auc_score(labels, scores)) <= bound < 0.005


def test_score_bins_rise_with_the_score_and_mirror() -> None:
    bins = score_bins(2048)
    small = np.logspace(-12, 0, 5_000)
    scores = np.sort(np.concatenate([np.linspace(0, 1, 20_001), small, 1 - small]))
    index = bins.index(scores)
    assert (np.diff(index) >= 0).all()
    assert index[0] == 0
    assert index[-1] == 2047
    inner = (np.arange(64) * 128 + 37) / 8192  # on no edge
    assert (bins.index(inner) + bins.index(1.0 - inner) == 2047).all()
    assert np.array_equal(np.unique(score_bins(64).index(scores)), np.arange(64))


@pytest.mark.parametrize("size", [0, 32, 100, 2047])
def test_score_bins_must_be_a_power_of_two(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        OutcomeStats("binary", score_bins=size)


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("rows", [2, 30, 5000])
def test_regression_metrics_equal_scikit_learn(rng: np.random.Generator, rows: int, offset: float) -> None:
    labels = rng.normal(5.0, 40.0, rows) + offset
    predictions = labels + rng.standard_t(3, rows) * 20.0
    found = evaluate("regression", predictions, labels)
    expected = {
        "mae": sk.mean_absolute_error(labels, predictions),
        "rmse": sk.root_mean_squared_error(labels, predictions),
        "r2": sk.r2_score(labels, predictions),
        "bias": float(np.mean(predictions - labels)),
        "mean_label": float(labels.mean()),
    }
    assert list(found) == list(TASK_METRICS["regression"])
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("rows", [1, 2, 50, 3000])
def test_multiclass_metrics_equal_scikit_learn(rng: np.random.Generator, rows: int) -> None:
    probabilities = rng.dirichlet([1.0, 2.0, 0.5, 0.2], rows)
    labels = rng.integers(0, 3, rows)  # class d never happens but is predicted at times
    found = evaluate("multiclass", probabilities, labels, CLASSES)
    likeliest = probabilities.argmax(axis=1)
    assert list(found) == list(TASK_METRICS["multiclass"])
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(labels, likeliest), abs=1e-12)
    assert found["macro_f1"].value == pytest.approx(sk.f1_score(labels, likeliest, average="macro"), abs=1e-12)
    assert found["log_loss"].value == pytest.approx(log_loss(labels, probabilities, 4), rel=1e-12)


def test_numbers_worked_out_by_hand() -> None:
    found = evaluate("binary", np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0]))
    assert found["roc_auc"].value == 0.75
    assert found["accuracy"].value == 0.5
    assert found["brier"].value == pytest.approx((0.01 + 0.64 + 0.49 + 0.01) / 4, abs=1e-15)
    assert found["log_loss"].value == pytest.approx(-math.log(0.9 * 0.2 * 0.3 * 0.9) / 4, abs=1e-15)
    assert found["roc_auc"].low is None  # two positives carry no interval


def test_undefined_metrics_are_none_and_never_nan() -> None:
    nobody = OutcomeStats("binary")
    assert all(value.value is None and value.rows == 0 for value in nobody.metrics().values())
    assert nobody.coverage is None
    assert nobody.delay_quantile_ms(0.5) is None
    assert nobody.auc_error_bound is None
    only_negatives = evaluate("binary", np.array([0.1, 0.2]), np.array([0, 0]))
    assert {name for name, value in only_negatives.items() if value.value is None} == {
        "roc_auc",
        "gini",
        "average_precision",
        "precision",
        "recall",
        "f1",
        "mcc",
        "cohen_kappa",
        "lift_10pct",
    }
    few = evaluate("regression", np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 5.0]))
    assert few["r2"].high == 1.0
    one = evaluate("regression", np.array([1.0]), np.array([2.0]))
    assert one["mae"].value == 1.0
    assert one["mae"].low is None
    assert one["r2"].value is None
    assert evaluate("regression", np.array([1.0, 2.0]), np.array([3.0, 3.0]))["r2"].value is None


def test_overflowing_errors_give_none() -> None:
    found = evaluate("regression", np.array([1e308, 1e200, 1.0]), np.array([-1e308, 0.0, 1.0]))
    assert found["rmse"].value is None
    assert found["mae"].value is None
    huge = evaluate("regression", np.array([1e120, -1e120]), np.array([0.0, 1.0]))
    assert huge["mae"].value == 1e120
    assert huge["rmse"].value == pytest.approx(1e120)
    assert huge["rmse"].low is None  # the fourth power is beyond float64
    assert huge["r2"].low is None
    tiny = evaluate("regression", np.array([1e120, -1e120, 0.0]), np.array([0.0, 1e-200, 2e-200]))
    assert all(value.low is None or np.isfinite(value.low) for value in tiny.values())


def test_constant_scores_have_an_area_of_one_half() -> None:
    labels = np.array([0, 1] * 20)
    found = evaluate("binary", np.full(40, 0.25), labels)["roc_auc"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_perfect_separation_still_has_an_interval() -> None:
    found = evaluate("binary", np.repeat([0.2, 0.8], 30), np.repeat([0, 1], 30))["roc_auc"]
    assert found.value == 1.0
    assert found.high == 1.0
    assert found.low is not None
    assert 0.8 < found.low < 0.95


def test_directions_are_known_for_every_metric() -> None:
    assert set(METRIC_DIRECTION) == {metric for metrics in TASK_METRICS.values() for metric in metrics}
    assert METRIC_DIRECTION["roc_auc"] == 1
    assert METRIC_DIRECTION["brier"] == -1
    assert METRIC_DIRECTION["bias"] == 0


@pytest.mark.parametrize(
    ("task", "predictions", "labels", "message"),
    [
        ("binary", [0.5, 1.5], [0, 1], "probabilities"),
        ("binary", [0.5, math.nan], [0, 1], "probabilities"),
        ("binary", [0.5, 0.5], [0, 2], "0 or 1"),
        ("binary", [0.5, 0.5], [0], "equally many"),
        ("regression", [0.5, math.inf], [0.0, 1.0], "finite"),
        ("regression", [0.5, 0.5], [0.0, math.nan], "finite"),
        ("multiclass", [[0.5, 0.5]], [0], r"shape \(n, 4\)"),
        ("multiclass", [[0.5, 0.5, 0.0, -0.1]], [0], "probabilities"),
        ("multiclass", [[0.5, 0.5, 0.0, 0.0]], [4], "from 0 to 3"),
    ],
)
def test_bad_rows_are_refused_before_anything_is_counted(
    task: Task, predictions: Any, labels: Any, message: str
) -> None:
    stats = OutcomeStats(task, CLASSES)
    before = stats.encode()
    with pytest.raises(ValueError, match=message):
        stats.update(np.array(predictions), np.array(labels), np.zeros(len(predictions), np.int64))
    assert stats.encode() == before


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_row_values_average_to_the_metric(task: Task, rng: np.random.Generator) -> None:
    labels: Any
    if task == "multiclass":
        predictions, labels = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    elif task == "binary":
        predictions, labels = rng.random(200), rng.integers(0, 2, 200)
    else:
        predictions, labels = rng.normal(size=200), rng.normal(size=200)
    found = evaluate(task, predictions, labels, CLASSES)
    for metric in MEAN_METRICS[task]:
        assert row_values(task, metric, predictions, labels).mean() == pytest.approx(found[metric].value, abs=1e-12)
    with pytest.raises(ValueError, match="not a mean"):
        row_values(task, "roc_auc", predictions, labels)
