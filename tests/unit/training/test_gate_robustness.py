from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.spec.gates import GateSpec
from driftloop.spec.model import FeatureSpec
from driftloop.training.gates import Reference
from driftloop.training.gates.perturbations import UNSEEN, perturbations, spread
from support.training_rows import make_spec
from support.trials import good, holdout, judge, sigmoid

FRAME, LABELS = holdout(600, seed=1)


def robustness(**more: object) -> GateSpec:
    return GateSpec(gate="robustness", **more)  # type: ignore[arg-type]


def brittle(frame: pd.DataFrame) -> np.ndarray:
    """Right as long as no digit beyond the second changes: it has the labels by heart."""
    known = dict(zip(FRAME["x"].round(6).tolist(), LABELS.tolist(), strict=True))
    return np.array([0.9 if known.get(round(value, 6), 0) else 0.1 for value in frame["x"]])


def test_a_smooth_model_passes_and_a_brittle_one_does_not() -> None:
    result = judge(robustness(bound=0.05), FRAME, LABELS, good)
    assert (result.gate, result.passed, result.verdict) == ("robustness:roc_auc", True, "passed")
    assert [detail.name for detail in result.details] == [
        "noise of 0.1 spreads", "10% of values missing", "10% of categories unseen",
    ]  # fmt: skip
    assert all(detail.bound == 0.05 for detail in result.details)
    refused = judge(robustness(bound=0.05), FRAME, LABELS, brittle)
    assert not refused.passed
    assert refused.details[0].name == "noise of 0.1 spreads"
    assert refused.value == pytest.approx(0.5, abs=0.05)
    assert "1.0000 to" in refused.details[0].note


def test_the_same_seed_gives_the_same_result() -> None:
    gate = robustness(bound=0.05)
    assert judge(gate, FRAME, LABELS, good, seed=1) == judge(gate, FRAME, LABELS, good, seed=1)
    assert judge(gate, FRAME, LABELS, good, seed=1) != judge(gate, FRAME, LABELS, good, seed=2)


def test_the_champions_own_fall_is_the_measure_where_there_is_a_margin() -> None:
    def leaning(frame: pd.DataFrame) -> np.ndarray:
        return sigmoid(1.5 * np.nan_to_num(frame["x"].to_numpy()) - 3.0 * frame["x"].isna().to_numpy())

    gate = robustness(margin=0.02, missing=0.3, noise=0.0, unseen=0.0)
    assert judge(gate, FRAME, LABELS, leaning, leaning).passed
    result = judge(gate, FRAME, LABELS, leaning, good)
    assert not result.passed
    assert result.details[0].name == "30% of values missing, against v1"
    assert result.details[0].challenger > result.details[0].champion > 0.0  # type: ignore[operator]
    first = judge(gate, FRAME, LABELS, leaning)
    assert first.passed
    assert "no champion to compare with" in first.sentence
    unknown = judge(gate, FRAME, LABELS, leaning, good(FRAME))
    assert (unknown.passed, unknown.verdict) == (False, "insufficient")
    assert "no model file" in unknown.details[0].note


def test_a_feature_that_carries_everything_is_found_when_it_is_missing() -> None:
    gate = robustness(each_missing=0.3)
    leaked = judge(gate, FRAME, LABELS, brittle)
    assert not leaked.passed
    assert leaked.details[0].name == "x missing"
    assert judge(robustness(each_missing=0.45), FRAME, LABELS, good).passed


def test_predictions_must_stay_predictions() -> None:
    def nan_on_missing(frame: pd.DataFrame) -> np.ndarray:
        return sigmoid(frame["x"].to_numpy())

    def crash_on_unseen(frame: pd.DataFrame) -> np.ndarray:
        if (frame["colour"] == UNSEEN).any():
            raise KeyError(UNSEEN)
        return good(frame)

    result = judge(robustness(bound=1.0), FRAME, LABELS, nan_on_missing)
    assert not result.passed
    assert "10% of values missing" in result.sentence
    assert "not finite" in result.sentence
    result = judge(robustness(bound=1.0), FRAME, LABELS, crash_on_unseen)
    assert not result.passed
    assert "raises KeyError" in result.sentence
    result = judge(robustness(bound=1.0), FRAME, LABELS, lambda frame: 3.0 * sigmoid(frame["noise"].to_numpy()))
    assert not result.passed


def test_few_rows_one_class_and_no_model_are_said() -> None:
    few = judge(robustness(bound=0.05), FRAME.iloc[:20], LABELS[:20], good)
    assert (few.passed, few.verdict) == (False, "insufficient")
    assert "30 rows are needed" in few.sentence
    one = judge(robustness(bound=0.05), FRAME, np.ones_like(LABELS), good)
    assert one.verdict == "insufficient"
    assert "undefined" in one.sentence
    nobody = judge(robustness(bound=0.05), FRAME, LABELS, good(FRAME))
    assert "no model here" in nobody.sentence


def test_what_is_perturbed_and_what_is_not() -> None:
    spec = make_spec()
    features = {
        **spec.features,
        "x": FeatureSpec(kind="numeric", required=True, minimum=-1.0),
        "whole": FeatureSpec(kind="numeric"),
    }
    spec = make_spec()
    spec = type(spec)(model="m", task="binary", features=features)
    frame = FRAME.assign(whole=np.random.default_rng(0).integers(0, 20, len(FRAME)).astype(float))
    before = frame.copy(deep=True)
    found = {
        change.name: change.frame
        for change in perturbations(spec, robustness(noise=0.5, missing=0.2, unseen=0.3), frame, frame, seed=4)
    }
    pd.testing.assert_frame_equal(frame, before)
    noisy, missing, unseen = found.values()
    assert (noisy["x"] >= -1.0).all()
    assert (noisy["whole"] == noisy["whole"].round()).all()
    assert (noisy["whole"] != frame["whole"]).mean() > 0.5
    assert noisy["colour"].equals(frame["colour"])
    shift = (noisy["noise"] - frame["noise"]).std()
    assert shift == pytest.approx(0.5 * spread(frame["noise"].to_numpy()), rel=0.1)
    assert not missing["x"].isna().any()
    assert missing["noise"].isna().mean() == pytest.approx(0.2, abs=0.04)
    assert missing["colour"].isna().mean() == pytest.approx(0.2, abs=0.04)
    assert (unseen["colour"] == UNSEEN).mean() == pytest.approx(0.3, abs=0.05)
    assert unseen["noise"].equals(frame["noise"])


def test_the_spread_is_that_of_the_rows_before_the_holdout() -> None:
    wide = Reference(FRAME.assign(x=100.0 * FRAME["x"]), LABELS)
    gate = robustness(bound=0.05, missing=0.0, unseen=0.0)
    assert judge(gate, FRAME, LABELS, good).passed
    assert not judge(gate, FRAME, LABELS, good, reference=wide).passed


def test_spread_of_known_values() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5.0, 3.0, 100_000)
    assert spread(values) == pytest.approx(3.0, rel=0.02)
    values[:10] = 1e9  # outliers do not count
    assert spread(values) == pytest.approx(3.0, rel=0.02)
    assert spread(np.array([0.0] * 99 + [1.0])) == pytest.approx(np.std([0.0] * 99 + [1.0]))
    assert spread(np.array([np.nan, np.inf, 2.0])) == 0.0
    assert spread(np.array([7.0, 7.0, 7.0])) == 0.0
    assert 0.0 < spread(np.array([1e307, -1e307, 1e307, 0.0])) < np.inf


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30))
def test_spread_is_a_number_and_never_negative(values: list[float]) -> None:
    assert spread(np.array(values, np.float64)) >= 0.0
