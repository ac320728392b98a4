from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from driftloop.spec.basics import Task
from driftloop.spec.gates import GateSpec
from driftloop.spec.metrics import TASK_METRICS
from driftloop.training.artifacts import dump
from driftloop.training.comparison import compare, metric_value
from driftloop.training.estimators import fit, predict
from driftloop.training.gates import Candidate, Rival, first_failure, run_gates, seed_from
from support.training_rows import make_rows, make_spec

ROW_BY_ROW = {
    "average_precision", "lift_10pct", "macro_roc_auc", "weighted_roc_auc", "top_2_accuracy", "msle", "mse",
    "smape", "explained_variance", "median_absolute_error",
}  # fmt: skip


def probabilities(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    raw = rng.random((rows, classes)) ** 2
    return raw / raw.sum(axis=1, keepdims=True)


def test_binary_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random(500) < 0.3).astype(np.int64)
    scores = np.round(rng.random(500), 2)  # with ties
    said = (scores >= 0.4).astype(int)
    expected = {
        "roc_auc": sk.roc_auc_score(labels, scores),
        "log_loss": sk.log_loss(labels, scores),
        "brier": sk.brier_score_loss(labels, scores),
        "accuracy": sk.accuracy_score(labels, said),
        "precision": sk.precision_score(labels, said),
        "recall": sk.recall_score(labels, said),
        "f1": sk.f1_score(labels, said),
        "gini": 2 * sk.roc_auc_score(labels, scores) - 1,
        "specificity": sk.recall_score(labels, said, pos_label=0),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
        "mcc": sk.matthews_corrcoef(labels, said),
        "cohen_kappa": sk.cohen_kappa_score(labels, said),
    }
    by_histogram = {"average_precision", "ece", "lift_10pct", "brier_reliability", "brier_resolution"}
    assert set(expected) == {name for name, sign in TASK_METRICS["binary"].items() if sign} - by_histogram
    for name, value in expected.items():
        assert metric_value("binary", name, labels, scores, 0.4) == pytest.approx(value, abs=1e-9), name


def test_regression_and_multiclass_metrics_equal_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    labels, values = rng.normal(1e4, 1, 300), rng.normal(1e4, 1, 300)
    for name, value in {
        "mae": sk.mean_absolute_error(labels, values),
        "rmse": sk.root_mean_squared_error(labels, values),
        "r2": sk.r2_score(labels, values),
    }.items():
        assert metric_value("regression", name, labels, values) == pytest.approx(value, rel=1e-9), name
    truth, scores = rng.integers(0, 3, 300), probabilities(rng, 300, 4)  # one class never is true
    said = scores.argmax(axis=1)
    for name, value in {
        "accuracy": sk.accuracy_score(truth, said),
        "macro_f1": sk.f1_score(truth, said, average="macro"),
        "log_loss": sk.log_loss(truth, scores, labels=[0, 1, 2, 3]),
    }.items():
        assert metric_value("multiclass", name, truth, scores) == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_every_metric_with_a_direction_can_be_compared(task: Task) -> None:
    rng = np.random.default_rng(7)
    rows = 300
    if task == "multiclass":
        labels = rng.integers(0, 3, rows)
        bad = probabilities(rng, rows, 3)
        good = 0.3 * bad + 0.7 * np.eye(3)[labels]
    else:
        labels = rng.integers(0, 2, rows) if task == "binary" else rng.exponential(size=rows)
        bad = rng.random(rows)
        good = 0.5 * bad + 0.5 * labels
    for metric, direction in TASK_METRICS[task].items():
        if not direction:
            with pytest.raises(ValueError, match="no better direction"):
                compare(task, metric, labels, good, bad, seed=1)
            continue
        result = compare(task, metric, labels, good, bad, seed=1)
        assert result.low <= result.high, metric
        if metric in ("ece", "brier_reliability", "brier_resolution", "mape", "max_error"):
            continue  # not better in these samples, or not significantly
        assert result.low > 0, metric
        assert result.low <= result.difference <= result.high
        assert result.difference == pytest.approx(direction * (result.challenger - result.champion))
        if metric in ROW_BY_ROW:
            continue  # resampled row by row, which takes longer
        turned = compare(task, metric, labels, bad, good, seed=1)
        assert (turned.low, turned.high) == (pytest.approx(-result.high), pytest.approx(-result.low))
        assert compare(task, metric, labels, good, bad, seed=1) == result
        assert compare(task, metric, labels, good, bad, seed=2).low != result.low
        itself = compare(task, metric, labels, good, good, seed=1)
        assert (itself.difference, itself.low, itself.high) == (0.0, 0.0, 0.0)


def pairs_in_order(truth: np.ndarray, scores: np.ndarray) -> float:
    """ROC AUC by its meaning: how often a positive row scores above a negative one, ties by half."""
    gaps = scores[truth][:, None] - scores[~truth][None, :]
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


def test_the_interval_is_that_of_resampling_the_rows_one_by_one() -> None:
    rng = np.random.default_rng(8)
    labels = (rng.random(200) < 0.4).astype(np.int64)
    first, second = np.round(0.3 * labels + rng.random(200), 1), np.round(rng.random(200), 1)
    result = compare("binary", "roc_auc", labels, first, second, seed=3)
    again = np.random.default_rng(3)
    differences = []
    for _ in range(1000):
        rows = again.integers(0, 200, 200)
        truth = labels[rows] == 1
        differences.append(pairs_in_order(truth, first[rows]) - pairs_in_order(truth, second[rows]))
    low, high = np.quantile(differences, [0.025, 0.975])
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    covered = 0
    for trial in range(200):
        labels = rng.normal(size=150)
        first, second = labels + rng.normal(size=150), labels + rng.normal(size=150)  # equally good
        result = compare("regression", "rmse", labels, first, second, seed=trial, confidence=0.9)
        covered += result.low <= 0.0 <= result.high
    assert 0.83 * 200 <= covered <= 0.96 * 200


def test_undefined_metrics_have_no_number() -> None:
    ones = np.ones(50, dtype=np.int64)
    result = compare("binary", "roc_auc", ones, np.linspace(0, 1, 50), np.linspace(1, 0, 50), seed=0)
    assert np.isnan([result.difference, result.low, result.high]).all()
    assert np.isnan(metric_value("binary", "roc_auc", ones[:0], np.empty(0)))


SPEC = make_spec()
FRAME, LABELS, TIMES = make_rows(rows=300)
MODEL = fit(SPEC, FRAME, LABELS)
ARTIFACT = dump(MODEL)
GOOD = predict(MODEL, SPEC, FRAME)
ALL = np.ones(300, dtype=np.bool_)


def gates(spec=SPEC, scores=GOOD, released=GOOD, artifact=ARTIFACT, champion=None, frame: pd.DataFrame = FRAME):  # type: ignore[no-untyped-def]
    results = run_gates(spec, Candidate(scores, released, artifact), champion, frame, LABELS[: len(frame)], seed=1)
    return {result.gate: result for result in results}


def test_a_good_first_version_passes() -> None:
    results = gates()
    assert list(results) == ["sanity", "loadable", "metric:roc_auc"]
    assert all(result.passed for result in results.values())
    assert results["metric:roc_auc"].sentence == "no champion to compare with"
    assert first_failure(list(results.values())) is None


def test_sanity_refuses_nan_constants_and_what_is_out_of_range() -> None:
    for scores, word in (
        (np.where(np.arange(300) == 7, np.nan, GOOD), "not finite"),
        (GOOD + 0.5, "outside of"),
        (np.full(300, 0.3), "learnt nothing"),
    ):
        result = gates(scores=scores, released=scores)["sanity"]
        assert not result.passed
        assert word in result.sentence
    spec = make_spec("multiclass", gates=[GateSpec(gate="sanity")])
    spread = np.linspace(0.1, 0.3, 900).reshape(300, 3)
    assert "do not sum to 1" in gates(spec, scores=spread, released=spread)["sanity"].sentence


def test_loadable_refuses_another_model_and_rubbish() -> None:
    other = dump(fit(SPEC, FRAME, 1 - LABELS))
    result = gates(artifact=other)["loadable"]
    assert not result.passed
    assert result.value is not None
    assert result.value > 0.1
    broken = gates(artifact=b"rubbish")["loadable"]
    assert not broken.passed
    assert "not a skops archive" in broken.sentence


def test_metric_gate_modes() -> None:
    rng = np.random.default_rng(0)
    worse = np.clip(0.8 * GOOD + 0.2 * rng.random(300), 0, 1)
    # Just as good, but not better: non-inferior, neither superior nor better.
    for mode, champion, passed in (
        ("non_inferiority", GOOD, True),
        ("superiority", GOOD, False),
        ("better", GOOD, False),
        ("superiority", 1.0 - GOOD, True),
        ("better", worse, True),
    ):
        spec = make_spec(gates=[GateSpec(gate="metric", mode=mode, margin=0.0 if mode != "non_inferiority" else 0.01)])  # type: ignore[arg-type]
        result = gates(spec, champion=Rival("v1", champion, ALL, ALL))["metric:roc_auc"]
        assert result.passed is passed, (mode, result.sentence)
        assert "champion v1" in result.sentence
    spec = make_spec(gates=[GateSpec(gate="metric", metric="log_loss", margin=0.01)])
    result = gates(spec, scores=1.0 - GOOD, champion=Rival("v1", GOOD, ALL, ALL))["metric:log_loss"]
    assert not result.passed
    assert result.value is not None
    assert result.value < -0.1
    assert "is not above -0.0100 (non-inferiority)" in result.sentence


def test_rows_of_the_champions_training_data_are_left_out_if_others_are_enough() -> None:
    # The champion is perfect on what it has seen, and no good on what it has not.
    unseen = np.arange(300) >= 200
    champion = np.where(unseen, 1.0 - GOOD, LABELS.astype(np.float64))
    result = gates(champion=Rival("v1", champion, ALL, unseen))["metric:roc_auc"]
    assert result.passed
    assert "on 100 later rows" in result.sentence
    few = np.arange(300) >= 290  # fewer than the spec's minimum_rows
    rival = Rival("v1", LABELS.astype(np.float64), ALL, few)
    result = gates(champion=rival)["metric:roc_auc"]
    assert (result.passed, result.verdict, result.left_out) == (False, "insufficient", 290)
    result = gates(make_spec(training={"compare_on_learned": True}), champion=rival)["metric:roc_auc"]
    assert (result.passed, result.verdict, result.left_out) == (False, "failed", None)
    assert "290 of these rows were in the champion's training data" in result.sentence


def test_a_champion_without_any_scores_cannot_be_beaten() -> None:
    result = gates(champion=Rival("v1", np.full(300, np.nan), ~ALL, ~ALL))["metric:roc_auc"]
    assert not result.passed
    assert "undefined on the 0 holdout rows" in result.sentence


def test_seeds_come_from_the_text_alone() -> None:
    assert seed_from("a") == seed_from("a") != seed_from("b")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", ["better", "non_inferiority", "superiority"])
def test_a_challenger_of_shuffled_labels_is_never_promoted_over_a_good_champion(mode: str, seed: int) -> None:
    spec = make_spec(gates=[GateSpec(gate="metric", metric="roc_auc", mode=mode, margin=0.02)])  # type: ignore[arg-type]
    shuffled = np.random.default_rng(seed).permutation(LABELS)
    later, truth, _ = make_rows(rows=300, seed=99)
    scores = predict(fit(spec, FRAME, shuffled), spec, later)
    champion = Rival("v1", predict(MODEL, SPEC, later), ALL, ALL)
    results = run_gates(spec, Candidate(scores, scores, b""), champion, later, truth, seed=seed)
    assert first_failure(results) is not None, [result.sentence for result in results]
