from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from driftloop.spec.gates import GateSpec
from driftloop.training.gates.calibration_measures import (
    logistic_recalibration,
    measure_binary,
    measure_regression,
    measure_top_label,
    regression_deviations,
)
from support.training_rows import make_spec
from support.trials import good, holdout, judge, sigmoid

FRAME, LABELS = holdout(2000, seed=1)
SCORES = good(FRAME)
LOGIT = np.log(SCORES) - np.log1p(-SCORES)


def calibration(**more: object) -> GateSpec:
    return GateSpec(gate="calibration", **more)  # type: ignore[arg-type]


def test_binary_measures_are_scikit_learns() -> None:
    found = measure_binary(SCORES, LABELS, 0.95)
    value = {name: part.value for name, part in found.items()}
    assert value["brier"] == pytest.approx(brier_score_loss(LABELS, SCORES), abs=1e-12)
    assert value["brier"] == pytest.approx(
        value["brier_reliability"] - value["brier_resolution"] + value["brier_uncertainty"] + value["brier_within"],  # type: ignore[operator]
        abs=1e-12,
    )
    truth, said = calibration_curve(LABELS, SCORES, n_bins=10, strategy="quantile")
    assert value["ece"] == pytest.approx(np.abs(truth - said).mean(), abs=2e-3)  # its groups differ by a row
    rows = SCORES.argsort().reshape(10, 200)
    assert value["ece"] == pytest.approx(
        np.abs(SCORES[rows].mean(axis=1) - LABELS[rows].mean(axis=1)).mean(), abs=1e-12
    )
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(LOGIT[:, None], LABELS)
    assert value["slope"] == pytest.approx(fit.coef_[0, 0], rel=1e-5)


def test_intervals_cover_a_calibrated_model_about_as_often_as_they_say() -> None:
    covered = {"slope": 0, "intercept": 0, "ece": 0}
    for seed in range(300):
        frame, labels = holdout(400, seed=seed)
        found = measure_binary(good(frame), labels, 0.9)
        for name, ideal in (("slope", 1.0), ("intercept", 0.0), ("ece", 0.0)):
            covered[name] += found[name].low <= ideal <= found[name].high  # type: ignore[operator]
    assert 0.85 * 300 <= covered["slope"] <= 0.95 * 300
    assert 0.85 * 300 <= covered["intercept"] <= 0.95 * 300
    assert covered["ece"] >= 0.9 * 300


def test_a_calibrated_model_passes_and_overconfidence_does_not() -> None:
    gate = calibration(bounds={"ece": 0.05, "brier_reliability": 0.01, "slope": 0.3, "intercept": 0.3})
    result = judge(gate, FRAME, LABELS, SCORES)
    assert (result.passed, result.verdict) == (True, "passed")
    assert {detail.name for detail in result.details if detail.verdict == "info"} == {
        "brier", "brier_resolution", "brier_uncertainty", "brier_within",
    }  # fmt: skip
    sure = sigmoid(4.0 * LOGIT)
    result = judge(gate, FRAME, LABELS, sure)
    assert not result.passed
    failed = {detail.name: detail for detail in result.details if detail.verdict == "failed"}
    assert set(failed) >= {"ece", "slope"}
    assert failed["slope"].value == pytest.approx(0.75, abs=0.05)
    assert "slope is 0.2" in failed["slope"].note
    shifted = judge(gate, FRAME, LABELS, sigmoid(LOGIT + 1.0))
    assert {detail.name for detail in shifted.details if detail.verdict == "failed"} >= {"intercept"}


def test_a_bound_that_must_be_proven_counts_the_upper_limit() -> None:
    found = measure_binary(SCORES, LABELS, 0.95)["ece"]
    between = {"ece": (found.value + found.high) / 2.0}  # type: ignore[operator]
    assert judge(calibration(bounds=between, criterion="point"), FRAME, LABELS, SCORES).passed
    assert not judge(calibration(bounds=between, criterion="proven"), FRAME, LABELS, SCORES).passed


def test_not_worse_than_the_champion() -> None:
    sure = sigmoid(3.0 * LOGIT)
    gate = calibration(margin=0.02)
    assert judge(gate, FRAME, LABELS, SCORES, sure).passed
    assert judge(gate, FRAME, LABELS, sure, sure).passed
    result = judge(gate, FRAME, LABELS, sure, SCORES)
    assert not result.passed
    assert result.details[0].name == "ece worse than v1"
    assert result.details[0].challenger > result.details[0].champion  # type: ignore[operator]
    first = judge(gate, FRAME, LABELS, SCORES)
    assert first.passed
    assert first.sentence == "no champion to compare with"


def test_multiclass_is_judged_by_its_largest_probability() -> None:
    rng = np.random.default_rng(2)
    raw = rng.dirichlet([1.0, 1.0, 1.0], 3000)
    truth = np.array([rng.choice(3, p=row) for row in raw])
    sure = raw**4 / (raw**4).sum(axis=1, keepdims=True)
    frame = holdout(3000, seed=3)[0]
    spec = make_spec("multiclass")
    assert judge(calibration(bounds={"ece": 0.03}), frame, truth, raw, spec=spec).passed
    assert not judge(calibration(bounds={"ece": 0.03}), frame, truth, sure, spec=spec).passed
    right = (sure.argmax(axis=1) == truth).astype(int)
    found = measure_top_label(sure, truth, 0.95)["ece"].value
    assert found == measure_binary(sure.max(axis=1), right, 0.95)["ece"].value


def test_regression_is_judged_by_bias_and_slope() -> None:
    rng = np.random.default_rng(4)
    said = rng.normal(50.0, 10.0, 2000)
    truth = said + rng.normal(size=2000) * (1.0 + 0.2 * np.abs(said - 50.0))
    spec = make_spec("regression")
    gate = calibration(bounds={"bias": 0.5, "slope": 0.05}, margin=0.3)
    assert judge(gate, FRAME, truth, said, said, spec=spec).passed
    result = judge(gate, FRAME, truth, said + 2.0, said, spec=spec)
    failed = {detail.name: detail for detail in result.details if detail.verdict == "failed"}
    assert set(failed) == {"bias", "bias worse than v1"}
    assert failed["bias"].value == pytest.approx(2.0, abs=0.2)
    flat = judge(gate, FRAME, truth, 50.0 + 0.5 * (said - 50.0), said, spec=spec)
    assert {detail.name for detail in flat.details if detail.verdict == "failed"} == {"slope", "slope worse than v1"}
    constant = judge(calibration(bounds={"slope": 0.05}), FRAME, truth, np.full(2000, 50.0), spec=spec)
    assert (constant.passed, constant.verdict) == (False, "insufficient")
    assert "all predictions are the same" in constant.sentence


def test_deviations_from_weights_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(5)
    said, truth = rng.normal(1e4, 1.0, 100), rng.normal(1e4, 1.0, 100)
    weights = rng.integers(0, 4, size=(3, 100)).astype(float)
    for metric, ideal in (("bias", 0.0), ("slope", 1.0)):
        found = regression_deviations(metric, said, truth)(weights)
        for row, value in zip(weights, found, strict=True):
            chosen = np.repeat(np.arange(100), row.astype(int))
            expected = measure_regression(said[chosen], truth[chosen], 0.95)[metric].value
            assert expected is not None
            assert value == pytest.approx(abs(expected - ideal), rel=1e-6, abs=1e-9)


def test_one_class_separated_classes_and_few_rows_are_said() -> None:
    gate = calibration(bounds={"slope": 0.2, "ece": 0.9})
    one = judge(gate, FRAME, np.ones_like(LABELS), SCORES)
    slope = next(detail for detail in one.details if detail.name == "slope")
    assert (slope.verdict, slope.note) == ("insufficient", "one class only")
    assert "slope (one class only)" in one.sentence
    apart = judge(calibration(bounds={"slope": 0.2}), FRAME, (SCORES > 0.5).astype(int), SCORES)
    assert (apart.passed, apart.verdict) == (False, "insufficient")
    assert "told apart completely" in apart.sentence
    few = judge(gate, FRAME.iloc[:20], LABELS[:20], SCORES[:20])
    assert (few.passed, few.sentence) == (False, "20 holdout rows, 30 are needed")


def test_recalibration_of_extreme_scores_is_finite_or_none() -> None:
    scores = np.array([0.0, 1.0, 0.0, 1.0, 0.5] * 20)
    labels = np.array([0, 1, 1, 1, 0] * 20)
    found = measure_binary(scores, labels, 0.95)
    assert np.isfinite(found["slope"].value)  # type: ignore[arg-type]
    assert logistic_recalibration(np.zeros(10), np.array([0.0, 1.0] * 5)) is None


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(0, 1)), min_size=2, max_size=60))
def test_measures_never_raise_and_hold_their_limits(rows: list[tuple[float, int]]) -> None:
    scores, labels = (np.array(part) for part in zip(*rows, strict=True))
    for part in measure_binary(scores.astype(float), labels, 0.95).values():
        if part.value is not None and part.low is not None and part.high is not None:
            assert np.isfinite([part.low, part.high]).all()
            assert part.low <= part.value + 1e-12 <= part.high + 2e-12
