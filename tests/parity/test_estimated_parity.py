"""Estimated performance and delay survival against NannyML and statsmodels (golden values: make_estimated.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from driftloop.performance.estimated.binary import BinaryEstimates, binary_rows
from driftloop.performance.estimated.calibration import fit_isotonic
from driftloop.performance.estimated.estimator import Estimator
from driftloop.performance.estimated.fit import fit_estimators
from driftloop.profiles.columns import PREDICTION
from driftloop.profiles.estimators import EstimatorTables
from driftloop.profiles.reference import ReferenceProfile
from driftloop.spec import ModelSpec, parse_spec
from parity.estimated_worlds import World, binary_world, multiclass_world, regression_world

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_estimated.json").read_text())

BINARY = parse_spec("{model: m, task: binary, features: {x: {kind: numeric}}}")
MULTICLASS = parse_spec("{model: m, task: multiclass, classes: [a, b, c], features: {x: {kind: numeric}}}")
REGRESSION = parse_spec(
    "{model: m, task: regression, features: {x: {kind: numeric}, z: {kind: numeric}}, performance: {estimate: true}}"
)


def estimator(spec: ModelSpec, tables: EstimatorTables | None) -> Estimator:
    assert tables is not None
    profile = ReferenceProfile(model_id="m", model_version="v1", features={}, rows=1, estimators=tables)
    return Estimator(spec, ReferenceProfile.decode(profile.encode()))


def estimates(spec: ModelSpec, reference: World, window: World) -> dict[str, float]:
    known = estimator(spec, fit_estimators(spec, {}, reference["scores"], reference["labels"]))
    sums = known.new_sums()
    for part in np.array_split(window["scores"], 7):
        sums.update(known.rows({}, part))
    return {name: metric.value for name, metric in sums.metrics(0.95).items() if metric.value is not None}


@pytest.mark.parametrize("name", ["calibrated", "overconfident", "grid"])
def test_isotonic_regression_is_scikit_learns(name: str) -> None:
    reference, window = binary_world(name)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(reference["scores"], reference["labels"])
    ours = fit_isotonic(reference["scores"], reference["labels"].astype(np.float64))
    assert ours.max_error == 0.0
    np.testing.assert_allclose(ours.apply(window["scores"]), theirs.predict(window["scores"]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["calibrated", "overconfident", "grid"])
def test_cbpe_of_a_binary_model_is_nannymls(name: str) -> None:
    golden = GOLDEN["binary"][name]
    reference, window = binary_world(name)
    assert golden["needs_calibration"], "the decision to calibrate is the same in these worlds"
    ours = estimates(BINARY, reference, window)
    for metric in ("accuracy", "precision", "recall", "f1"):
        assert ours[metric] == pytest.approx(golden["estimates"][metric], abs=1e-9), metric


def test_roc_auc_differs_from_nannymls_by_what_its_rounding_and_our_bins_explain() -> None:
    # NannyML rounds every cumulated count to five decimals: the area moves by up to about 2 * 5e-6 / positives + ...
    reference, window = binary_world("grid")
    rounding = 2.0 * 5e-6 / (0.3 * len(window["scores"]))
    golden = GOLDEN["binary"]["grid"]["estimates"]["roc_auc"]
    assert estimates(BINARY, reference, window)["roc_auc"] == pytest.approx(golden, abs=rounding)
    for name in ("calibrated", "overconfident"):
        reference, window = binary_world(name)
        tables = fit_estimators(BINARY, {}, reference["scores"], reference["labels"])
        assert tables is not None
        sums = BinaryEstimates(tables, 0.5)
        sums.update(binary_rows(tables, window["scores"], 0.5))
        bound = sums.auc_error_bound()
        assert bound is not None
        assert 0.0 < bound < 5e-4
        golden = GOLDEN["binary"][name]["estimates"]["roc_auc"]
        ours = sums.metrics(0.95)["roc_auc"].value
        assert ours is not None
        assert -rounding <= golden - ours <= bound + rounding  # a tie never adds


def test_cbpe_of_a_multiclass_model_is_nannymls() -> None:
    ours = estimates(MULTICLASS, *multiclass_world())
    golden = GOLDEN["multiclass"]["estimates"]
    assert ours["accuracy"] == pytest.approx(golden["accuracy"], abs=1e-9)
    assert ours["macro_f1"] == pytest.approx(golden["f1"], abs=1e-9)


def test_the_loss_model_is_as_good_as_nannymls_gradient_boosting() -> None:
    """Another learner, so not the same number: both are held against what was realised."""
    reference, window = regression_world()
    columns = {"x": reference["x"], "z": reference["z"]}
    known = estimator(REGRESSION, fit_estimators(REGRESSION, columns, reference["hat"], reference["y"]))
    sums = known.new_sums()
    sums.update(known.rows({"x": window["x"], "z": window["z"], PREDICTION: window["hat"]}, window["hat"]))
    error = window["hat"] - window["y"]
    realised = {"mae": np.abs(error).mean(), "mse": (error**2).mean(), "rmse": np.sqrt((error**2).mean())}
    unaware = {"mae": np.abs(reference["hat"] - reference["y"]).mean()}
    ours = sums.metrics(0.95)
    for metric, truth in realised.items():
        value = ours[metric].value
        assert value is not None
        theirs = GOLDEN["regression"]["estimates"][metric]
        assert abs(value - truth) <= abs(theirs - truth) + 0.01 * truth, metric
        assert value == pytest.approx(truth, rel=0.05)
    assert realised["mae"] > 1.1 * unaware["mae"], "the window's errors are larger than the reference's"
